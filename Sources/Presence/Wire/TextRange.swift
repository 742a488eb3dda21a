/// Where a text stands among bytes, counted from the first of them; or that there is none.
struct TextRange: Sendable {
  static let absent = TextRange(first: .max, last: .max)

  private let first: UInt32
  private let last: UInt32

  private init(first: UInt32, last: UInt32) {
    self.first = first
    self.last = last
  }

  /// Of what is too far back to be told, a part or nothing.
  @inline(__always) init(from start: Int, to end: Int) {
    first = min(UInt32(clamping: start), .max - 1)
    last = max(first, min(UInt32(clamping: end), .max - 1))
  }

  var isAbsent: Bool { first == .max }
  var isEmpty: Bool { first == last }

  /// The indices in other bytes that begin alike; of what is not among them, none.
  func indices<Bytes: Collection>(in bytes: Bytes) -> Range<Int> where Bytes.Index == Int {
    (bytes.startIndex + Int(first)..<bytes.startIndex + Int(last))
      .clamped(to: bytes.startIndex..<bytes.endIndex)
  }

  /// - Returns: nil where there is none.
  func text(in bytes: ArraySlice<UInt8>) -> String? {
    isAbsent ? nil : String(decoding: bytes[indices(in: bytes)], as: UTF8.self)
  }
}
