import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The reader of our output is gone, so nothing is left to do. This is not an error.
package struct OutputClosed: Error {}

/// Why one of the process's own streams cannot be used.
package enum StreamError: Error, Hashable {
  /// Writing failed with this system error (`errno`).
  case cannotWrite(CInt)
  case cannotRead(CInt)
  /// Standard input has more than this many bytes.
  case tooMuchInput(limit: Int)
}

/// The process's own streams, without any buffering.
package enum StandardStreams {
  /// Makes sure that the descriptors 0, 1 and 2 are in use: otherwise the first socket would become
  /// stdout, and output would go to the server. A descriptor that was closed is opened in such a
  /// way that its normal use still fails.
  package static func ensureOpen() {
    for descriptor: CInt in 0...2 where fcntl(descriptor, F_GETFD) == -1 {
      // The system gives the lowest free number, which is the missing one. In a command that we
      // run, it is closed again.
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

  /// Writes all bytes, and waits for a slow reader, until ``giveUp()``.
  ///
  /// - Throws: ``OutputClosed`` when the reader is gone or we no longer wait, ``StreamError`` when
  ///   writing fails.
  package static func write(_ bytes: [UInt8], to descriptor: CInt = 1) throws {
    var rest = try writeAtOnce(bytes[...], to: descriptor)
    while !rest.isEmpty {
      while !outlet(descriptor).hasRoom(within: patience) {
        if hasGivenUp.load(ordering: .relaxed) { throw OutputClosed() }
      }
      rest = try writeAtOnce(rest, to: descriptor)
    }
  }

  /// Writes as much as can be written without waiting for a slow reader.
  ///
  /// - Returns: the rest.
  /// - Throws: as ``write(_:to:)``.
  package static func writeAtOnce(
    _ bytes: ArraySlice<UInt8>, to descriptor: CInt = 1
  ) throws -> ArraySlice<UInt8> {
    let outlet = outlet(descriptor)
    var rest = bytes
    while !rest.isEmpty {
      let count = outlet.write(rest)
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EPIPE {
        throw OutputClosed()
      } else if errno == EAGAIN {
        break
      } else if errno != EINTR {
        throw StreamError.cannotWrite(errno)
      }
    }
    return rest
  }

  /// Writes all bytes, and waits for a slow reader on a thread where that delays nothing else.
  ///
  /// - Throws: as ``write(_:to:)``.
  package static func writeAll(_ bytes: [UInt8], to descriptor: CInt = 1) async throws {
    let rest = try writeAtOnce(bytes[...], to: descriptor)
    guard !rest.isEmpty else { return }
    try await patiently { try write(Array(rest), to: descriptor) }
  }

  /// Runs what may wait for a slow reader on a thread where that delays nothing else.
  package static func patiently(_ body: @escaping @Sendable () throws -> Void) async throws {
    try await withTaskExecutorPreference(globalConcurrentExecutor) { try body() }
  }

  /// The time between two checks of whether to go on waiting for a reader. Also how long a remark
  /// waits for a slow reader.
  private static let patience = Duration.milliseconds(100)
  private static let hasGivenUp = Atomic(false)

  /// From here on we do not wait for a reader that stalls, since we are about to end.
  package static func giveUp() { hasGivenUp.store(true, ordering: .relaxed) }

  /// Writes as long as the reader takes something from time to time. This is for output that may be
  /// lost, and for code that must not wait for a reader.
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

  /// How many remarks could not be written since the last one that was.
  private static let droppedRemarks = Atomic(0)

  private static func text(_ dropped: Int) -> String {
    dropped == 1 ? "1 remark was" : "\(dropped) remarks were"
  }

  /// Writes a remark to standard error if that is possible within a moment. Otherwise the remark is
  /// counted as dropped, and the next one tells how many are missing. So nothing has to wait for
  /// the reader of standard error.
  package static func writeError(_ text: String) {
    let dropped = droppedRemarks.exchange(0, ordering: .relaxed)
    let note =
      dropped == 0 ? "" : "paasbus: \(Self.text(dropped)) dropped: the output was not read\n"
    let bytes = Array((note + text).utf8)
    if writeSoon(bytes, to: STDERR_FILENO) == bytes.count {
      droppedRemarks.add(dropped + 1, ordering: .relaxed)
    }
  }

  /// The most bytes that a message may have (`proto-max-bulk-len` of redis.conf).
  private static let maxInput = 512 * 1024 * 1024

  /// Reads all of standard input.
  ///
  /// - Throws: ``StreamError``.
  package static func readAll() throws -> [UInt8] {
    let bytes = try readInput(atMost: maxInput + 1)
    guard bytes.count <= maxInput else { throw StreamError.tooMuchInput(limit: maxInput) }
    return bytes
  }

  /// Reads standard input up to its end or so many bytes.
  ///
  /// - Throws: ``StreamError``.
  package static func readInput(atMost limit: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < limit {
      let count = readInput(&buffer)
      if count == 0 { break }
      guard count > 0 else { throw StreamError.cannotRead(errno) }
      bytes += buffer[..<min(count, limit - bytes.count)]
    }
    return bytes
  }

  /// Reads from standard input, and waits until there is something to read. The wait is explicit,
  /// since another program may have left standard input in the mode that does not block
  /// (O_NONBLOCK, open(2)).
  ///
  /// - Returns: how many bytes were read; 0 at the end, -1 with `errno` set where it cannot be
  ///   read.
  package static func readInput(_ buffer: inout [UInt8]) -> Int {
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      guard count < 0, errno == EINTR || errno == EAGAIN else { return count }
      var state = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      if errno == EAGAIN { _ = poll(&state, 1, -1) }
    }
  }
}
