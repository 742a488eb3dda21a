import Foundation
import TestSupport
import Testing

@testable import Presence

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
        try await browser.waitFor("1 of 2 up", in: "#releases")
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

  @Test("by the keyboard alone: filter, sort, details, goal, pause; focus and address stay")
  func keyboard() async throws {
    try await RedisServer.with { server in
      for number in 1...3 {
        _ = try await Paasbus.announce(
          "--app", "shop", "--name", "web.\(number)", "--release", "v\(number)", on: server)
      }
      let panel = try await PanelProcess.start("--app", "shop", on: server)
      try await Browser.with { browser in
        try await browser.open(panel.url)
        try await browser.waitFor("3 up", in: "#summary")
        try await browser.press("jj")
        #expect(try await browser.focused == "web.2")
        let fourth = try await Paasbus.announce(
          "--app", "shop", "--name", "web.0", "--release", "v2", on: server)
        try await browser.waitFor("web.0", in: "#rows")
        #expect(try await browser.focused == "web.2")
        try await browser.press(Browser.enter)
        try await browser.waitFor("Last heartbeat", in: "#details")
        try await browser.press(Browser.escape)
        #expect(try await browser.text("#details") == "")
        try await browser.press("/v2")
        try await browser.waitUntil("the filter holds") { try await browser.count("#rows tr") == 2 }
        #expect(try await browser.address.contains("q=v2"))
        #expect(try await browser.evaluate("document.activeElement.id") == "filter")
        try await browser.press(Browser.escape)
        try await browser.click("#heads th:first-child a")
        try await browser.waitUntil("it is sorted by name") {
          try await browser.evaluate(
            "document.querySelector('#heads th').getAttribute('aria-sort')") == "ascending"
        }
        #expect(try await browser.address.contains("sort=name"))
        #expect(try await browser.text("#rows tr:first-child th") == "web.0")
        try await browser.press("p")
        try await browser.waitFor("Resume (0 waiting)", in: "#pause")
        fourth.signal(SIGTERM)
        try await browser.waitFor("Resume (", in: "#pause")
        try await browser.waitUntil("events wait") {
          try await !browser.text("#pause").contains("(0 waiting)")
        }
        #expect(try await browser.text("#summary").contains("4 up"))
        try await browser.press("p")
        try await browser.waitFor("1 stopped", in: "#summary")
        // Another person sees the same by the address.
        try await browser.open(try await browser.address)
        #expect(try await browser.count("#rows tr") == 2)
        #expect(try await browser.messages == [])
      }
    }
  }

  @Test("the goal says what is missing, and when it is reached")
  func goal() async throws {
    try await RedisServer.with { server in
      _ = try await Paasbus.announce("--app", "shop", "--release", "v42", on: server)
      let panel = try await PanelProcess.start("--app", "shop", on: server)
      try await Browser.with { browser in
        try await browser.open(panel.url + "?goal=2&release=v42")
        try await browser.waitFor("waiting: 1 of 2 v42 up", in: "#goal-text")
        _ = try await Paasbus.announce("--app", "shop", "--release", "v42", on: server)
        try await browser.waitFor("reached: 2 of 2 v42 up", in: "#goal-text")
      }
    }
  }

  @Test("without JavaScript everything is there, filtered and sorted by the server")
  func noScript() async throws {
    try await RedisServer.with { server in
      for number in 1...3 {
        _ = try await Paasbus.announce("--app", "shop", "--name", "web.\(number)", on: server)
      }
      let panel = try await PanelProcess.start("--app", "shop", on: server)
      try await Browser.with(javaScript: false) { browser in
        try await browser.open(panel.url)
        try await browser.waitFor("3 up", in: "#summary")
        #expect(try await browser.count("#lives svg") == 3)
        #expect(try await browser.count("#event-list li") == 3)
        try await browser.click("#filter")
        try await browser.press("web.2" + Browser.enter)
        try await browser.waitUntil("it is filtered") { try await browser.count("#rows tr") == 1 }
        try await browser.click("#rows a")
        try await browser.waitFor("Last heartbeat", in: "#instance")
        try await browser.click("#instance a")
        try await browser.waitFor("3 up", in: "#summary")
      }
    }
  }

  @Test("a person signs in, is led back, and signs out")
  func login() async throws {
    try await RedisServer.with { server in
      let panel = try await PanelProcess.start(
        "--app", "shop", on: server,
        environment: ["PAASBUS_PANEL_PASSWORD": "correct horse battery"])
      try await Browser.with { browser in
        try await browser.open(panel.url + "?q=web")
        try await browser.waitFor("Sign in", in: "main")
        try await browser.press("wrong" + Browser.enter)
        try await browser.waitFor("The password is wrong", in: "main")
        try await browser.click("#password")
        try await browser.press("correct horse battery" + Browser.enter)
        try await browser.waitFor("no instances", in: "#summary")
        #expect(try await browser.address.hasSuffix("/?q=web"))
        let announce = try await Paasbus.announce("--app", "shop", "--name", "web.1", on: server)
        try await browser.waitFor("1 up", in: "#summary")
        announce.signal(SIGTERM)
        try await browser.click(".logout button")
        try await browser.waitFor("Sign in", in: "main")
        try await browser.open(panel.url)
        try await browser.waitFor("Sign in", in: "main")
      }
    }
  }

  @Test("a Redis that is away is said at once, and what happened is there when it is back")
  func outage() async throws {
    try await RedisServer.with(options: ["--appendonly", "yes", "--appendfsync", "always"]) {
      server in
      let panel = try await PanelProcess.start("--app", "default", on: server)
      let bus = Bus(on: server)
      try await bus.publish(1)
      try await Browser.with { browser in
        try await browser.open(panel.url)
        try await browser.waitFor("1 up", in: "#summary")
        server.kill()
        try await browser.waitFor("no connection to Redis", in: "#connection")
        #expect(try await browser.text("#rows").contains("w"))
        try await server.start()
        try await browser.waitFor("live", in: "#connection")
        try await bus.publish(1)
        try await browser.waitFor("2 up", in: "#summary")
      }
    }
  }

  @Test("names that are markup, or turn text round, are shown as text")
  func hostileNames() async throws {
    try await RedisServer.with { server in
      var instance = Instance(
        app: "shop", name: "<img src=x onerror=alert(1)>\"'&\u{202E}", lease: .seconds(300))
      instance.release = "<b>v</b>"
      instance.meta = ["<i>": "</i>"]
      try await server.connector.withConnection { [instance] connection in
        _ = try await Transitions(keys: Keys(app: "shop")).start(
          instance, elapsed: .zero, channel: nil, history: 1000, on: connection)
      }
      let panel = try await PanelProcess.start("--app", "shop", on: server)
      try await Browser.with { browser in
        try await browser.open(panel.url)
        try await browser.waitFor("<img src=x onerror=alert(1)>\"'&\\u{202e}", in: "#rows")
        #expect(try await browser.count("img, #rows b, dd i") == 0)
        try await browser.click("#rows a")
        try await browser.waitFor("<i>", in: "#details")
        #expect(try await browser.messages == [])
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
