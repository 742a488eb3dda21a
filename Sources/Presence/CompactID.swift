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
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, UInt64(bytes.count) << 56)
    for (index, byte) in bytes.enumerated() {
      let bits = UInt64(byte) << (8 * (index % 8))
      switch index / 8 {
      case 0: words.0 |= bits
      case 1: words.1 |= bits
      case 2: words.2 |= bits
      default: words.3 |= bits
      }
    }
    self = .short(words.0, words.1, words.2, words.3)
  }
}
