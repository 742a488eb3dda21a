/// Where a text stands in an array of bytes, or that there is none.
struct TextRange: Sendable {
  static let absent = TextRange(first: .max, last: .max)

  private let first: UInt32
  private let last: UInt32

  private init(first: UInt32, last: UInt32) {
    self.first = first
    self.last = last
  }

  /// Of what is too far back to be told, a part or nothing.
  init(from start: Int, to end: Int) {
    first = min(UInt32(clamping: start), .max - 1)
    last = max(first, min(UInt32(clamping: end), .max - 1))
  }

  var isAbsent: Bool { first == .max }
  var start: Int { Int(first) }
  /// The index behind it.
  var end: Int { Int(last) }
  var indices: Range<Int> { start..<end }

  /// - Parameter bytes: an array in which it stands; of what does not, nothing is read.
  /// - Returns: nil where there is none.
  func text(in bytes: [UInt8]) -> String? {
    isAbsent ? nil : String(decoding: bytes[indices.clamped(to: bytes.indices)], as: UTF8.self)
  }
}
