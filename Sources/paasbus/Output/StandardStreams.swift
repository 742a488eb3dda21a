import CSupervisor

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
      // The lowest free number is the one that is missing.
      _ = open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY)
    }
  }

  static func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }

  /// Writes all of it.
  ///
  /// - Throws: ``OutputClosed`` when the reader has gone, ``Failure`` when writing fails.
  static func write(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Self.write(1, $0) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EPIPE {
        throw OutputClosed()
      } else if errno == EAGAIN {
        var wait = pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)
        _ = poll(&wait, 1, -1)
      } else if errno != EINTR {
        throw Failure(
          .failed, "cannot write to standard output (\(String(cString: strerror(errno))))",
          remedy: "redirect it to something that can be written")
      }
    }
  }

  /// Returns once nobody can read any more what we write, which a write would tell only when there
  /// is something to write; or when the task is cancelled.
  static func waitUntilUnread() async {
    while !Task.isCancelled {
      var state = pollfd(fd: 1, events: 0, revents: 0)
      if poll(&state, 1, 0) > 0, state.revents & Int16(POLLERR | POLLHUP) != 0 { return }
      try? await Task.sleep(for: .milliseconds(500))
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

/// The command line, and what `ps` shows of it.
enum ProcessTitle {
  /// The words that we were called with, without our own name.
  static var arguments: [String] {
    memory.dropFirst().map { String(decoding: UnsafeRawBufferPointer($0), as: UTF8.self) }
  }

  /// Overwrites the password of every URL among the arguments, in the memory that `ps` reads.
  ///
  /// To be called once the arguments have been copied.
  static func hidePasswords() {
    for bytes in memory.dropFirst() {
      guard let range = passwordRange(bytes.map { UInt8(bitPattern: $0) }) else { continue }
      for place in range { bytes[place] = CChar(UInt8(ascii: "*")) }
    }
  }

  /// Each argument's bytes, without the final zero, where the system put them.
  private static var memory: [UnsafeMutableBufferPointer<CChar>] {
    var count: CInt = 0
    let told = csupervisor_arguments(&count)
    let vector = told ?? CommandLine.unsafeArgv
    return (0..<Int(told == nil ? CommandLine.argc : count)).compactMap { index in
      vector[index].map { UnsafeMutableBufferPointer(start: $0, count: strlen($0)) }
    }
  }

  /// Where a URL has its password: between the first colon behind `://`, or `://` itself, and the
  /// last `@`.
  static func passwordRange(_ bytes: [UInt8]) -> Range<Int>? {
    guard let at = bytes.lastIndex(of: UInt8(ascii: "@")) else { return nil }
    let marker = Array("://".utf8)
    guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: marker) }),
      start + marker.count <= at
    else { return nil }
    let user = start + marker.count
    let colon = bytes[user..<at].firstIndex(of: UInt8(ascii: ":"))
    return (colon.map { $0 + 1 } ?? user)..<at
  }
}
