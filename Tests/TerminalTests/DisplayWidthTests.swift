import Foundation
import Testing

@testable import Terminal

@Suite("Widths")
struct DisplayWidthTests {
  init() { setlocale(LC_CTYPE, "C.UTF-8") }

  @Test(
    "a text takes as many cells as a terminal gives it",
    arguments: [
      ("", 0), ("web.1", 5), ("é", 1), ("e\u{301}", 1), ("日本", 4), ("👍", 2), ("👩‍👩‍👧", 2), ("🇩🇪", 2),
      ("❤️", 2),
    ])
  func width(text: String, width: Int) {
    #expect(text.displayWidth == width)
  }

  @Test(
    "a text is cut with a sign, and never in the middle of a wide character",
    arguments: [
      ("worker.12", 6, "worke…"), ("worker.12", 9, "worker.12"), ("日本語", 4, "日…"),
      ("日本語", 5, "日本…"), ("abc", 1, "…"), ("abc", 0, ""), ("", 0, ""),
    ])
  func cut(text: String, width: Int, cut: String) {
    #expect(text.cut(to: width) == cut)
    #expect(text.fitted(to: width).displayWidth == width)
  }

  @Test("where only ASCII can be shown, the sign is a tilde")
  func ascii() {
    #expect("worker.12".cut(to: 6, isUnicode: false) == "worke~")
  }

  @Test("colour is what the option says, and by itself not where it is not wanted")
  func color() {
    let piped: CInt = 0
    #expect(ColorChoice.always.isOn(descriptor: piped, environment: ["NO_COLOR": "1"]))
    #expect(!ColorChoice.never.isOn(descriptor: piped, environment: [:]))
    #expect(!ColorChoice.auto.isOn(descriptor: piped, environment: ["NO_COLOR": "1"]))
    #expect(!ColorChoice.auto.isOn(descriptor: piped, environment: ["TERM": "dumb"]))
  }
}
