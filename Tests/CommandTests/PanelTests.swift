import Foundation
import TestSupport
import Testing

@Suite("The panel in a browser", .serialized)
struct PanelTests {
  @Test("an instance that joins, drains, stops, is killed and comes back is seen without a reload")
  func live() async throws {
    try await RedisServer.with { server in
      let first = try await Paasbus.announce(
        "--app", "shop", "--name", "web.1", "--release", "v41", "--lease", "5s", on: server)
      let panel = try await PanelProcess.start("--app", "shop", on: server)
      try await Browser.with { browser in
        try await browser.open(panel.url)
        try await browser.waitFor("1 up", in: "#summary")
        #expect(try await browser.evaluate("window.kept = true") == "true")
        let second = try await Paasbus.announce(
          "--app", "shop", "--name", "web.2", "--release", "v42", "--lease", "5s", on: server)
        try await browser.waitFor("2 up", in: "#summary")
        try await browser.waitFor("web.2", in: "#rows")
        try await browser.waitFor("1 of 1 up", in: "#releases")
        second.signal(SIGTERM)
        try await browser.waitFor("1 stopped", in: "#summary")
        try await browser.waitFor("SIGTERM", in: "#rows")
        first.signal(SIGKILL)
        try await browser.waitFor("1 lost", in: "#summary")
        try await browser.waitFor("connection", in: "#event-list")
        // The page was never loaded again.
        let isKept = try await browser.evaluate("window.kept") == "true"
        let messages = try await browser.messages
        #expect(isKept && messages == [])
      }
    }
  }

  /// With `PAASBUS_WRITE_PICTURES=1` the pictures of the page on the panel are written anew.
  @Test("it is drawn light and dark, as the system is")
  func pictures() async throws {
    try await RecordedNight.with { server in
      let panel = try await PanelProcess.start("--app", RecordedNight.app, on: server)
      try await Browser.with { browser in
        var backs: Set<String> = []
        for isDark in [false, true] {
          try await browser.setDark(isDark)
          try await browser.open(panel.url)
          try await browser.waitFor("live", in: "#connection")
          backs.insert(
            try await browser.evaluate("getComputedStyle(document.body).backgroundColor"))
          let picture = try await browser.picture
          #expect(picture.count > 10_000 && picture.count <= 150_000)
          guard ProcessInfo.processInfo.environment["PAASBUS_WRITE_PICTURES"] != nil else {
            continue
          }
          try picture.write(
            to: Self.pictures.appending(path: isDark ? "panel~dark.png" : "panel.png"))
        }
        #expect(backs.count == 2)
        #expect(try await browser.messages == [])
      }
    }
  }

  private static let pictures = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../Sources/Presence/Presence.docc/Resources")
}
