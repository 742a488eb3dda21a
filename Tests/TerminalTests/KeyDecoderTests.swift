import Testing

@testable import Terminal

@Suite("Keys")
struct KeyDecoderTests {
  @Test(
    "what a terminal sends is the key that was pressed",
    arguments: [
      ("a", [Key.character("a")]), ("é", [.character("é")]), ("日", [.character("日")]),
      ("\r", [.enter]), ("\n", [.enter]), ("\u{7F}", [.backspace]), ("\u{8}", [.backspace]),
      ("\u{3}", [.interrupt]), ("\u{1A}", [.suspend]), ("\u{1B}", [.escape]),
      ("\u{1B}[A", [.up]), ("\u{1B}OB", [.down]), ("\u{1B}[5~", [.pageUp]),
      ("\u{1B}[6~", [.pageDown]), ("\u{1B}[1~", [.home]), ("\u{1B}OF", [.end]),
      ("\u{1B}[Aq", [.up, .character("q")]), ("\u{1B}[15;2~x", [.character("x")]),
      ("\u{1B}[", []), ("\u{1}", []), ("\u{1B}x", [.escape, .character("x")]),
    ])
  func keys(bytes: String, keys: [Key]) {
    var decoder = KeyDecoder()
    #expect(decoder.decode(Array(bytes.utf8)) == keys)
  }

  @Test("a character whose bytes come apart is put together")
  func pieces() {
    var decoder = KeyDecoder()
    let bytes = Array("€".utf8)
    #expect(decoder.decode(bytes.prefix(1)).isEmpty)
    #expect(decoder.decode(bytes[1...]) == [.character("€")])
  }

  @Test("no bytes trap, and letters between them come through")
  func rubbish() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<10_000 {
      var decoder = KeyDecoder()
      let bytes = (0..<Int.random(in: 0...12, using: &random)).map { _ in
        UInt8.random(in: .min ... .max, using: &random)
      }
      _ = decoder.decode(bytes)
      _ = decoder.decode(Array("abcd".utf8))
      #expect(decoder.decode([UInt8(ascii: "q")]) == [.character("q")])
    }
  }
}
