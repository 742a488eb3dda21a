import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The command line, and what `ps` shows of it.
enum ProcessTitle {
  /// The command that `announce` is to run, each word to the byte and with its final zero; nil
  /// where no `--` was given.
  ///
  /// Safe, since it is written once, by ``takeArguments()``, before there is another thread.
  nonisolated(unsafe) private(set) static var wrappedCommand: [[CChar]]?

  /// What we were called with, but for a command to run.
  ///
  /// Safe for the same reason.
  nonisolated(unsafe) private(set) static var arguments: [String] = []

  /// The command's words as text.
  static var wrappedWords: [String] { (wrappedCommand ?? []).map(text) }

  private static func text(_ word: [CChar]) -> String {
    String(decoding: word.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Copies the words that we were called with, without our own name, and overwrites the passwords
  /// of URLs and the private keys among them, in the memory that `ps` reads. Of a command to run, which is kept
  /// apart, only the first word is among them: a parser has no business with the others.
  ///
  /// To be called once, at the beginning.
  static func takeArguments() -> [String] {
    var words = memory.dropFirst().map { Array($0) + [0] }
    hidePasswords()
    let separator = Array("--".utf8CString)
    if words.first == Array("announce".utf8CString), let place = words.firstIndex(of: separator) {
      wrappedCommand = Array(words[(place + 1)...])
      words = Array(words.prefix(place + 2))
    }
    arguments = words.map(text)
    return arguments
  }

  private static func hidePasswords() {
    for bytes in memory.dropFirst() {
      let word = bytes.map { UInt8(bitPattern: $0) }
      let ranges = [passwordRange(word), queryRange(word), keyRange(word)]
      for range in ranges.compactMap(\.self) {
        for place in range { bytes[place] = CChar(UInt8(ascii: "*")) }
      }
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

  /// Where the text of a private key stands (PEM, RFC 7468).
  private static func keyRange(_ bytes: [UInt8]) -> Range<Int>? {
    guard bytes.firstRange(of: Array("PRIVATE KEY".utf8)) != nil else { return nil }
    let start = bytes.firstRange(of: Array("-----BEGIN".utf8))?.lowerBound ?? 0
    return start..<bytes.count
  }

  /// Where a URL has its query or fragment, of which any part may be a password.
  private static func queryRange(_ bytes: [UInt8]) -> Range<Int>? {
    guard let start = bytes.firstRange(of: Array("://".utf8))?.upperBound,
      let end = bytes[start...].firstIndex(where: {
        $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#")
      })
    else { return nil }
    return (end + 1)..<bytes.count
  }
}
