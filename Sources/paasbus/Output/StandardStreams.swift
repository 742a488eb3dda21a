#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Whoever read our output has gone; there is nothing more to do, and it is no error.
struct OutputClosed: Error {}

/// The process's own streams, below any buffering.
enum StandardStreams {
  /// Sees to it that 0, 1 and 2 are taken: else the first socket would become stdout, and output
  /// would go to the server. What was closed is opened so that writing to it still fails.
  static func ensureOpen() {
    for descriptor: CInt in 0...2 where fcntl(descriptor, F_GETFD) == -1 {
      // The lowest free number is the one that is missing. A command that we run finds it closed.
      _ = open("/dev/null", (descriptor == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC)
    }
  }

  /// Half of what a pipe holds (pipe(7)): a reader that keeps pace is never waited for.
  private static let pieceSize = 32_768

  static func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }

  /// Writes all of it.
  ///
  /// - Throws: ``OutputClosed`` when the reader has gone, ``Failure`` when writing fails.
  static func write(_ bytes: [UInt8], to descriptor: CInt = 1) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.prefix(pieceSize).withUnsafeBytes { Self.write(descriptor, $0) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EPIPE {
        throw OutputClosed()
      } else if errno == EAGAIN {
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = poll(&wait, 1, -1)
      } else if errno != EINTR {
        throw Failure(
          .failed, "cannot write to standard output (\(String(cString: strerror(errno))))",
          remedy: "redirect it to something that can be written")
      }
    }
  }

  /// Runs `body` until it ends, a signal comes, or nobody reads any more what we write.
  static func untilUnread(
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

  /// Everything that standard input holds.
  ///
  /// - Throws: ``Failure`` where it cannot be read.
  static func readAll() throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(0, &buffer, buffer.count)
      if count == 0 { return bytes }
      if count > 0 {
        bytes += buffer[..<count]
      } else if errno != EINTR {
        throw Failure(
          .failed, "cannot read standard input (\(String(cString: strerror(errno))))",
          remedy: "give the message as an argument")
      }
    }
  }

  static func writeError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { Self.write(2, $0) }
  }

  private static func write(_ descriptor: CInt, _ bytes: UnsafeRawBufferPointer) -> Int {
    #if canImport(Glibc)
      Glibc.write(descriptor, bytes.baseAddress, bytes.count)
    #elseif canImport(Musl)
      Musl.write(descriptor, bytes.baseAddress, bytes.count)
    #else
      Darwin.write(descriptor, bytes.baseAddress, bytes.count)
    #endif
  }
}
