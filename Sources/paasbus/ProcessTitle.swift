import CSupervisor
import ExpressSessions
import PaasbusRedis

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The command line, and what `ps` shows of it.
enum ProcessTitle {
  /// The command that `announce` has to run, each word byte for byte and with its final zero; nil
  /// where no `--` was given.
  ///
  /// Safe, since it is written once, by ``readArguments()``, before there is another thread.
  nonisolated(unsafe) private(set) static var wrappedCommand: [[CChar]]?

  /// The words that we were called with. Of a command to run, only the first word is included.
  ///
  /// Safe for the same reason.
  nonisolated(unsafe) private(set) static var arguments: [String] = []

  /// Whether one of ``arguments`` is not UTF-8, so that its text differs from its bytes.
  ///
  /// Safe for the same reason.
  nonisolated(unsafe) private(set) static var holdsOtherEncoding = false

  /// The command's words as text.
  static var wrappedWords: [String] { (wrappedCommand ?? []).map(text) }

  private static func text(_ word: [CChar]) -> String {
    String(decoding: word.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Copies the words that we were called with, without our own name. Then it overwrites secrets in
  /// the memory that `ps` reads: passwords of URLs, private keys, and any value that is given as a
  /// URL or a file but is not one, since any part of it may be a secret. A command to run is kept
  /// separately; only its first word is returned, since the parser must not read the others.
  ///
  /// To be called once, at the beginning.
  static func readArguments() -> [String] {
    var words = memory.dropFirst().map { Array($0) + [0] }
    hidePasswords()
    let separator = Array("--".utf8CString)
    if words.first == Array("announce".utf8CString), let index = words.firstIndex(of: separator) {
      wrappedCommand = Array(words[(index + 1)...])
      words = Array(words.prefix(index + 2))
    }
    arguments = words.map(text)
    holdsOtherEncoding = words.contains { word in
      String(validating: word.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) == nil
    }
    return arguments
  }

  private static func hidePasswords() {
    var option: String?
    let isAboutSessions = memory.dropFirst().first?.elementsEqual("sessions".utf8CString.dropLast())
    for bytes in memory.dropFirst() {
      let word = bytes.map { UInt8(bitPattern: $0) }
      let ranges = [
        passwordRange(word), queryRange(word), keyRange(word), misplacedRange(word, behind: option),
        isAboutSessions == true ? sessionRange(word, behind: option) : nil,
      ]
      option = String(decoding: word, as: UTF8.self)
      for range in ranges.compactMap(\.self) {
        for index in range { bytes[index] = CChar(UInt8(ascii: "*")) }
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

  /// The place of a value that its option cannot take: a URL that cannot be read, or a file that
  /// does not exist.
  ///
  /// - Parameter option: the word before this one.
  static func misplacedRange(_ bytes: [UInt8], behind option: String?) -> Range<Int>? {
    let text = String(decoding: bytes, as: UTF8.self)
    for name in ["--url", "--tls-ca", "--tls-cert", "--tls-key", "--secret-file"] {
      let isJoined = text.hasPrefix("\(name)=")
      guard isJoined || option == name else { continue }
      let start = isJoined ? name.utf8.count + 1 : 0
      let value = String(decoding: bytes[start...], as: UTF8.self)
      let isFine =
        name == "--url" ? (try? RedisEndpoint(url: value)) != nil : access(value, F_OK) == 0
      return isFine ? nil : start..<bytes.count
    }
    return nil
  }

  /// The place of what logs in a user: a session's id or cookie, without the short form's part of it.
  ///
  /// - Parameter option: the word before this one.
  static func sessionRange(_ bytes: [UInt8], behind option: String?) -> Range<Int>? {
    let text = String(decoding: bytes, as: UTF8.self)
    guard option?.hasPrefix("--") != true, !text.hasPrefix("-"), !SessionID.isShort(text),
      bytes.count > maxWord
    else { return nil }
    return 6..<bytes.count
  }

  /// As long as the longest name of a command, and shorter than any id that cannot be guessed.
  private static let maxWord = 11

  /// The place of the text of a private key (PEM, RFC 7468).
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
