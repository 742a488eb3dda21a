/// An id to look something up by, of which no string has to be made; it stands in place as long as
/// it is no longer than ours are, so that a comparison follows no pointer.
enum CompactID: Hashable {
  case short(UInt64, UInt64, UInt64, UInt64)
  case long(ArraySlice<UInt8>)

  init(_ bytes: ArraySlice<UInt8>) {
    guard bytes.count < 32 else {
      self = .long(bytes)
      return
    }
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    withUnsafeMutableBytes(of: &words) { words in
      words.copyBytes(from: bytes)
      // So that no shorter one with zeros behind it is the same.
      words[31] = UInt8(bytes.count)
    }
    self = .short(words.0, words.1, words.2, words.3)
  }
}
