#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Short texts that the system makes when they are read, as below `/proc` and `/sys`.
enum SystemFile {
  private static let maxSize = 65_536

  /// nil where the file cannot be read.
  static func text(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    var count = 0
    while true {
      let more = bytes.withUnsafeMutableBytes { buffer in
        read(file, buffer.baseAddress.map { $0 + count }, buffer.count - count)
      }
      guard more >= 0 else { return nil }
      count += more
      guard more > 0, count < maxSize else { break }
      if count == bytes.count { bytes += [UInt8](repeating: 0, count: count) }
    }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// A file with one number; nil where there is none, as in `max`.
  static func number(_ path: String) -> Int64? {
    text(path).flatMap { $0.split(whereSeparator: \.isWhitespace).first }.flatMap { Int64($0) }
  }

  /// A number behind its name, in a file with one on each line.
  static func number(_ name: String, in path: String) -> Int64? {
    guard let text = text(path) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == name { return Int64(words[1]) }
    }
    return nil
  }

  /// The process ids in a file, one on each line.
  static func ids(_ path: String) -> Set<pid_t>? {
    text(path).map { Set($0.split(whereSeparator: \.isWhitespace).compactMap { pid_t($0) }) }
  }

  /// The names in a folder; none where it cannot be read.
  static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names
  }
}
