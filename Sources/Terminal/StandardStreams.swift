import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Whoever read our output has gone; there is nothing more to do, and it is no error.
package struct OutputClosed: Error {}

/// Why one of the process's own streams cannot be used.
package enum StreamError: Error, Hashable {
  /// With the system's error (`errno`).
  case cannotWrite(CInt)
  case cannotRead(CInt)
  /// Standard input holds more than so many bytes.
  case tooMuchInput(limit: Int)
}

/// The process's own streams, below any buffering.
package enum StandardStreams {
  /// Sees to it that 0, 1 and 2 are taken: else the first socket would become stdout, and output
  /// would go to the server. What was closed is opened so that writing to it still fails.
  package static func ensureOpen() {
    for descriptor: CInt in 0...2 where fcntl(descriptor, F_GETFD) == -1 {
      // The lowest free number is the one that is missing. A command that we run finds it closed.
      _ = open("/dev/null", (descriptor == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC)
    }
  }

  package static func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }

  private static let output = Outlet(STDOUT_FILENO)
  private static let errors = Outlet(STDERR_FILENO)

  private static func outlet(_ descriptor: CInt) -> Outlet {
    switch descriptor {
    case STDOUT_FILENO: output
    case STDERR_FILENO: errors
    default: Outlet(descriptor)
    }
  }

  /// Writes all of it, and waits for a reader that is slow, until ``giveUp()``.
  ///
  /// - Throws: ``OutputClosed`` when the reader has gone or we wait no longer, ``StreamError`` when
  ///   writing fails.
  package static func write(_ bytes: [UInt8], to descriptor: CInt = 1) throws {
    let outlet = outlet(descriptor)
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = outlet.write(rest)
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EPIPE {
        throw OutputClosed()
      } else if errno == EAGAIN {
        while !outlet.hasRoom(within: patience) {
          if hasGivenUp.load(ordering: .relaxed) { throw OutputClosed() }
        }
      } else if errno != EINTR {
        throw StreamError.cannotWrite(errno)
      }
    }
  }

  /// Between two looks at whether to wait for a reader any longer; what one that is slow gets for a
  /// remark.
  private static let patience = Duration.milliseconds(100)
  private static let hasGivenUp = Atomic(false)

  /// From here on a reader that stalls is not waited for: we are about to end.
  package static func giveUp() { hasGivenUp.store(true, ordering: .relaxed) }

  /// Writes what the reader takes, as long as it takes something now and then: for what may be lost,
  /// and for those who must not wait for a reader.
  ///
  /// - Returns: how many bytes were not written.
  @discardableResult
  package static func writeSoon(_ bytes: [UInt8], to descriptor: CInt = 1) -> Int {
    let outlet = outlet(descriptor)
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = outlet.write(rest)
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        guard outlet.hasRoom(within: patience) else { break }
      } else if errno != EINTR {
        break
      }
    }
    return rest.count
  }

  // MARK: Remarks

  /// How many could not be written since the last one that was.
  private static let droppedRemarks = Atomic(0)

  private static func text(_ dropped: Int) -> String {
    dropped == 1 ? "1 remark was" : "\(dropped) remarks were"
  }

  /// Writes a remark to standard error, where it can be written in a moment; else it is counted, and the
  /// next one tells that some are missing. Nothing else waits for those who read our remarks.
  package static func writeError(_ text: String) {
    let dropped = droppedRemarks.exchange(0, ordering: .relaxed)
    let note =
      dropped == 0 ? "" : "paasbus: \(Self.text(dropped)) dropped: the output was not read\n"
    let bytes = Array((note + text).utf8)
    if writeSoon(bytes, to: STDERR_FILENO) == bytes.count {
      droppedRemarks.add(dropped + 1, ordering: .relaxed)
    }
  }

  /// Runs `body` until it ends, a signal comes, or nobody reads any more what we write.
  package static func untilUnread(
    or signals: AsyncStream<String>, _ body: sending @escaping () async throws -> Void
  ) async throws {
    let work = Task { try await body() }
    Task {
      for await _ in signals { work.cancel() }
    }
    Task {
      await waitUntilUnread()
      work.cancel()
    }
    try await work.value
  }

  /// Returns once nobody can read any more what we write, which a write would tell only when there
  /// is something to write; or when the task is cancelled.
  private static func waitUntilUnread() async {
    while !Task.isCancelled {
      var state = pollfd(fd: 1, events: 0, revents: 0)
      if poll(&state, 1, 0) > 0, state.revents & Int16(POLLERR | POLLHUP) != 0 { return }
      try? await Task.sleep(for: .milliseconds(500))
    }
  }

  /// What a message may have (`proto-max-bulk-len` of redis.conf).
  private static let maxInput = 512 * 1024 * 1024

  /// Everything that standard input holds.
  ///
  /// - Throws: ``StreamError``.
  package static func readAll() throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = readInput(&buffer)
      if count == 0 { return bytes }
      if count > 0 {
        bytes += buffer[..<count]
        guard bytes.count <= maxInput else {
          throw StreamError.tooMuchInput(limit: maxInput)
        }
      } else {
        throw StreamError.cannotRead(errno)
      }
    }
  }

  /// Reads what standard input has, and waits for it; another program may have left it in a mode in which it
  /// does not wait by itself (O_NONBLOCK, open(2)).
  ///
  /// - Returns: how many bytes that was; 0 at the end, -1 with `errno` set where it cannot be read.
  package static func readInput(_ buffer: inout [UInt8]) -> Int {
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      guard count < 0, errno == EINTR || errno == EAGAIN else { return count }
      var state = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      if errno == EAGAIN { _ = poll(&state, 1, -1) }
    }
  }
}
