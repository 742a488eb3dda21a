import Testing

@testable import Presence
@testable import Terminal
@testable import Views

@Suite("Lines, tables and small texts")
struct LineTests {
  private func line(_ layout: LineLayout, name: String = "worker.12") -> String {
    var bytes: [UInt8] = []
    let rest = layout.addColumns(
      name: name, release: "v42", place: "heroku/eu",
      remarks: ["SIGTERM exit 143  ran 2h 5m", "SIGTERM exit 143  ran 2h", "SIGTERM exit 143"],
      to: &bytes)
    return String(decoding: bytes, as: UTF8.self) + "  " + rest
  }

  @Test("in a pipe nothing is cut, and columns have fixed widths")
  func pipe() {
    #expect(
      line(LineLayout(columns: nil))
        == "worker.12       v42       heroku/eu     SIGTERM exit 143  ran 2h 5m")
  }

  @Test("on a terminal the place goes first, then the release; the reason and the status stay")
  func terminal() {
    for columns in 40...220 {
      let text = line(LineLayout(columns: columns))
      let isNarrow = columns < 52
      #expect(isNarrow || text.displayWidth + 23 <= columns, "\(columns): \(text)")
      #expect(text.contains("heroku/eu") == (columns >= 76), "\(columns): \(text)")
      #expect(text.contains("v42") == (columns >= 60), "\(columns): \(text)")
      #expect(isNarrow || text.contains("SIGTERM exit 143"), "\(columns): \(text)")
      #expect(!text.contains("ran") || text.contains("ran 2h"), "\(columns): \(text)")
    }
  }

  @Test("no column moves, whatever the names are")
  func still() {
    for columns in [60, 80, 120, 200] {
      let texts = ["w", "worker.12", String(repeating: "x", count: 60)].map {
        line(LineLayout(columns: columns), name: $0)
      }
      let starts = texts.map { text in
        text.firstRange(of: "v42").map { text[..<$0.lowerBound].displayWidthOfSlice }
      }
      #expect(Set(starts).count == 1, "\(texts)")
    }
  }

  @Test(
    "a span is told in its two largest units",
    arguments: [
      (Int64(-5), "0ms", "0s"), (999, "999ms", "0s"), (1000, "1s", "1s"), (61_000, "1m 1s", "1m"),
      (7_500_000, "2h 5m", "2h"), (90_000_000, "1d 1h", "1d"),
    ])
  func spans(milliseconds: Int64, text: String, coarse: String) {
    #expect(Span(milliseconds: milliseconds).description == text)
    #expect(Span(milliseconds: milliseconds).coarse == coarse)
  }

  @Test("a span that was given is told to the millisecond")
  func exactSpans() {
    #expect(
      Span(milliseconds: 1500).exact == "1500ms" && Span(milliseconds: 90_000).exact == "1m 30s")
  }

  @Test("globs match as a shell's do")
  func globs() {
    #expect(Glob("web.*").matches("web.1") && !Glob("web.*").matches("worker.1"))
    #expect(Glob("w?b.[12]").matches("web.2") && !Glob("web").matches("web.1"))
    #expect(Glob("").matches("") && !Glob("").matches("x"))
  }

  @Test(
    "what could move a cursor or hide text is made visible",
    arguments: [
      ("web.1", "web.1"), ("日本", "日本"), ("a\nb\tc", "a\\nb\\tc"), ("\u{1B}[31m", "\\u{1b}[31m"),
      ("\u{202E}x", "\\u{202e}x"), ("\u{9B}x", "\\u{9b}x"), ("👩‍👩‍👧", "👩‍👩‍👧"),
    ])
  func visible(text: String, shown: String) {
    #expect(Visible.text(text) == shown)
  }

  @Test("filters of a watch and of a list pass what was asked for")
  func filters() {
    let one = Fleets.instance("web.1")
    let lost = WatchOutput.event(Fleets.event(.lost, 1, of: one), .live)
    #expect(WatchFilter().passes(lost) && WatchFilter(types: [.lost]).passes(lost))
    #expect(!WatchFilter(types: [.start]).passes(lost))
    #expect(!WatchFilter(name: "worker.*").passes(lost))
    #expect(WatchFilter(types: [.start]).passes(.gap(from: 1, to: 2)))
    #expect(!WatchFilter(types: [.start]).passes(.message("x")))
    #expect(WatchFilter(name: "(un*").passes(.foreign(.start, at: 1)))
    let states = InstanceStatus.State.allCases
    let present = states.filter { ListFilter().passes(Fleets.status("w", $0)) }
    #expect(present == [.up, .stopping, .overdue])
    let ended = states.filter { ListFilter(state: .lost, name: "w").passes(Fleets.status("w", $0)) }
    #expect(ended == [.lost])
  }

  @Test("a table leaves away what fits least, and is never wider than the terminal")
  func table() {
    let statuses = (1...3).map { Fleets.status("worker.\($0)", release: "v\($0)") }
    for columns in [20, 40, 60, 80, 120, 200] {
      let table = InstanceTable(
        instances: statuses, now: Fleets.epoch + 5000,
        typography: Typography(hasColor: false, isUnicode: true, columns: columns))
      let lines = String(decoding: table.lines, as: UTF8.self).split(separator: "\n")
      #expect(lines.allSatisfy { String($0).displayWidth <= columns })
      #expect(lines.first?.contains("NAME") == true && lines.last == "3 up")
    }
  }

  @Test("the chart has a lane for each instance and never more cells than the terminal")
  func chart() {
    var lives = Lives()
    let (one, other) = (Fleets.instance("web.1"), Fleets.instance("web.2"))
    for (seq, (type, instance, minute)) in [
      (EventType.start, one, Int64(0)), (.start, other, 10), (.lost, one, 30), (.stop, other, 50),
    ].enumerated() {
      lives.add(
        Fleets.event(type, Int64(seq + 1), of: instance, at: Fleets.epoch + minute * 60_000))
    }
    for columns in [20, 60, 80, 200] {
      let chart = LifeChart(
        lives: lives, earliest: Fleets.epoch, now: Fleets.epoch + 3_600_000,
        typography: Typography(hasColor: false, isUnicode: false, columns: columns))
      let lines = chart.text.split(separator: "\n").map(String.init)
      let lanes = lines.filter { $0.contains("web.") }
      #expect(lanes.count == 2, "\(chart.text)")
      #expect(lines.allSatisfy { $0.displayWidth <= max(columns, 66) }, "\(chart.text)")
      guard columns >= 60, lanes.count == 2 else { continue }
      #expect(lanes[0].contains("!") && lanes[1].contains("-"), "\(chart.text)")
    }
  }
}

extension Substring {
  fileprivate var displayWidthOfSlice: Int { String(self).displayWidth }
}
