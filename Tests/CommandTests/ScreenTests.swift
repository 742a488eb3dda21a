import Foundation
import TestSupport
import Testing

/// Compares what a terminal shows with `Screens/*.txt`, which are to be looked at by people; with
/// `PAASBUS_WRITE_SCREENS=1`, writes them.
@Suite("Screens")
struct ScreenTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Screens")
  private static let writes = ProcessInfo.processInfo.environment["PAASBUS_WRITE_SCREENS"] == "1"

  /// Runs a command in a terminal of each width, and expects the screen of that name.
  private func expect(
    _ name: String, _ command: String, widths: [Int] = [60, 80, 200], rows: Int = 20,
    locale: String = "C.UTF-8", typing keys: [String] = []
  ) async throws {
    try await RecordedNight.with { server in
      for width in widths {
        let shell = "sh -c '\(Paasbus.path) \(command) -q --app shop; exec sleep 5000'"
        let environment = ["PAASBUS_URL": server.url, "LANG": "C.UTF-8", "LC_ALL": locale]
        try await Terminal.with(shell, columns: width, rows: rows, environment: environment) {
          try await expect("\(name)-\(width)", on: $0, typing: keys)
        }
      }
    }
  }

  private func expect(
    _ name: String, on terminal: Terminal, typing keys: [String]
  ) async throws {
    let file = Self.folder.appending(path: "\(name).txt")
    for key in keys {
      _ = try await settled(terminal)
      try await terminal.press(key)
    }
    if Self.writes {
      try await settled(terminal).write(to: file, atomically: true, encoding: .utf8)
    }
    let expected = try String(contentsOf: file, encoding: .utf8)
    do {
      try await eventually("the screen \(name)", within: .seconds(15)) {
        try await terminal.picture == expected
      }
    } catch {
      Issue.record("\(name) is\n\(try await terminal.picture)\nand not\n\(expected)")
    }
  }

  /// The screen once it shows something and has not changed for a moment.
  private func settled(_ terminal: Terminal) async throws -> String {
    var (last, since) = ("", ContinuousClock.now)
    try await eventually("the screen is at rest") {
      let picture = try await terminal.picture
      if picture != last { (last, since) = (picture, .now) }
      return !picture.isEmpty && ContinuousClock.now - since > .milliseconds(400)
    }
    return last
  }

  @Test("watch")
  func watch() async throws { try await expect("watch", "watch --since all") }

  @Test("watch, of what there is only")
  func snapshot() async throws { try await expect("snapshot", "watch", widths: [80]) }

  @Test("list")
  func list() async throws { try await expect("list", "list") }

  @Test("history")
  func history() async throws { try await expect("history", "history", widths: [80]) }

  @Test("history as a chart")
  func chart() async throws { try await expect("chart", "history --chart") }

  @Test("history as a chart, in ASCII")
  func plainChart() async throws {
    try await expect("chart-ascii", "history --chart --since 89m", widths: [80], locale: "C")
  }

  @Test("top")
  func top() async throws { try await expect("top", "top", rows: 12) }

  @Test("top in ASCII")
  func plainTop() async throws {
    try await expect("top-ascii", "top", widths: [80], rows: 12, locale: "C")
  }

  @Test("top, sorted by release the other way round, and moved in")
  func sorted() async throws {
    try await expect(
      "top-sorted", "top", widths: [80], rows: 12, typing: ["r", "r", "Down", "Down"])
  }

  @Test("top, filtered as it is typed")
  func filtered() async throws {
    try await expect("top-filtered", "top", widths: [80], rows: 12, typing: ["/", "v", "4", "1"])
  }

  @Test("top, the details of one instance")
  func details() async throws {
    try await expect(
      "top-details", "top", widths: [60, 80], rows: 18, typing: ["Down", "Enter"])
  }
}
