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
  /// The words that we were called with, without our own name, to the byte and with their final
  /// zeros; a command that we run gets them as they were.
  nonisolated(unsafe) private(set) static var rawArguments: [[CChar]] = []

  /// Copies the words that we were called with, without our own name, and overwrites the password
  /// of every URL among them, in the memory that `ps` reads.
  ///
  /// To be called once, at the beginning.
  static func takeArguments() -> [String] {
    // Written here before there is another thread, and only read from then on.
    rawArguments = memory.dropFirst().map { Array($0) + [0] }
    for bytes in memory.dropFirst() {
      guard let range = passwordRange(bytes.map { UInt8(bitPattern: $0) }) else { continue }
      for place in range { bytes[place] = CChar(UInt8(ascii: "*")) }
    }
    return rawArguments.map { word in
      String(decoding: word.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
