#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A pipe for words, each with a zero after it, between the supervisor and the announcer.
struct WordPipe: Sendable {
  let reading: CInt
  let writing: CInt
  private var rest: [UInt8] = []

  /// nil where no pipe can be made.
  init?() {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    (reading, writing) = (ends[0], ends[1])
  }

  /// Writes the words at once. What does not fit is not written, so that this does not block.
  func write(_ words: [String]) {
    var bytes: [UInt8] = []
    for word in words { bytes += Array(word.utf8) + [0] }
    let flags = fcntl(writing, F_GETFL)
    _ = fcntl(writing, F_SETFL, flags | O_NONBLOCK)
    _ = bytes.withUnsafeBytes { systemWrite(writing, $0.baseAddress, $0.count) }
  }

  /// Waits for the next word; nil at the end.
  mutating func next() -> String? {
    while true {
      if let end = rest.firstIndex(of: 0) {
        let word = String(decoding: rest[..<end], as: UTF8.self)
        rest.removeSubrange(...end)
        return word
      }
      guard read() else { return nil }
    }
  }

  /// The words that have come so far.
  mutating func takeAvailable() -> [String] {
    var words: [String] = []
    var state = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
    while true {
      if rest.contains(0) {
        if let word = next() { words.append(word) }
      } else if poll(&state, 1, 0) > 0, state.revents & Int16(POLLIN) != 0, read() {
        continue
      } else {
        return words
      }
    }
  }

  /// Reads once; false at the end.
  private mutating func read() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = systemRead(reading, &buffer, buffer.count)
      if count > 0 {
        rest += buffer[..<count]
        return true
      }
      guard count < 0, errno == EINTR else { return false }
    }
  }
}

private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

private func systemRead(
  _ descriptor: CInt, _ bytes: UnsafeMutableRawPointer, _ count: Int
) -> Int {
  read(descriptor, bytes, count)
}
