import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("serve")
struct ServeTests {
  private func with(
    _ words: String..., environment: [String: String] = [:],
    _ body: (RedisServer, PanelProcess) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let panel = try await PanelProcess.start(words, on: server, environment: environment)
      try await body(server, panel)
    }
  }

  private static func objects(_ answer: HTTPAnswer) throws -> [[String: JSONValue]] {
    try JSONDecoder().decode([[String: JSONValue]].self, from: Data(answer.body))
  }

  @Test("every path answers with its type and its headers, HEAD as GET without a body")
  func paths() async throws {
    try await with("--app", "default") { server, panel in
      let announce = try await Paasbus.announce("--name", "web.1", on: server)
      let id = try #require(
        announce.errorOutput.firstMatch(of: /\(([0-9A-Z]{26})\)/).map { String($0.1) })
      let types = [
        "/": "text/html; charset=utf-8", "/instances/\(id)": "text/html; charset=utf-8",
        "/api/v1/bus": "application/json", "/api/v1/instances": "application/json",
        "/api/v1/instances/\(id)": "application/json", "/api/v1/history": "application/json",
        "/metrics": "text/plain; version=0.0.4; charset=utf-8",
        "/panel.css": "text/css; charset=utf-8", "/panel.js": "text/javascript; charset=utf-8",
        "/icon.svg": "image/svg+xml",
      ]
      try await eventually("it is there") {
        try await panel.ask("/api/v1/instances/\(id)").status == 200
      }
      for (path, type) in types {
        for method in ["GET", "HEAD"] {
          let answer = try await panel.ask(path, method: method)
          #expect(answer.status == 200 && answer["content-type"] == type, "\(method) \(path)")
          #expect(answer.body.isEmpty == (method == "HEAD"), "\(method) \(path)")
          #expect(answer["x-content-type-options"] == "nosniff")
          #expect(answer["referrer-policy"] == "no-referrer")
          #expect(answer["cache-control"] == "no-store")
        }
      }
      for path in ["/healthz", "/readyz"] {
        let answer = try await panel.ask(path, ["Host": "10.1.2.3"])
        #expect(answer.status == 200 && answer.body.isEmpty)
      }
      let policy = try #require(try await panel.ask("/")["content-security-policy"])
      for word in ["default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for"] {
        #expect(policy.contains(word))
      }
      let stream = try await panel.ask("/api/v1/events", method: "HEAD")
      #expect(stream["content-type"] == "text/event-stream; charset=utf-8")
      #expect(stream["x-accel-buffering"] == "no")
    }
  }

  @Test("what the API tells are the objects of list --json and history --json")
  func sameObjects() async throws {
    try await with { server, panel in
      let announce = try await Paasbus.announce(
        "--name", "web.1", "--release", "v1", "--meta", "zone=a", on: server)
      let other = try await Paasbus.announce("--name", "worker.1", on: server)
      other.signal(SIGTERM)
      _ = try await other.exitStatus()
      try await eventually("it is told") {
        try await panel.ask("/api/v1/bus").text.contains("\"seq\":3")
      }
      let list = try Paasbus.start("list", "--json", on: server)
      #expect(try await list.exitStatus() == 0)
      let told = try Self.objects(try await panel.ask("/api/v1/instances"))
      #expect(told.map { $0["id"] } == list.objects.map { $0["id"] } && told.count == 1)
      #expect(told.map { Set($0.keys) } == list.objects.map { Set($0.keys) })
      for filter in ["?state=stopped", "?name=worker.*&state=stopped"] {
        let ended = try Self.objects(try await panel.ask("/api/v1/instances\(filter)"))
        #expect(ended.map { $0["name"] } == [.string("worker.1")])
      }
      for (words, query) in [
        ([], ""), (["--only", "stop"], "?only=stop"), (["--name", "web*"], "?name=web*"),
        (["--since", "1h"], "?since=1h"),
      ] {
        let history = try Paasbus.start(["history", "--json"] + words, on: server)
        #expect(try await history.exitStatus() == 0)
        #expect(
          try Self.objects(try await panel.ask("/api/v1/history\(query)")) == history.objects)
      }
      announce.signal(SIGTERM)
    }
  }

  @Test(
    "what cannot be answered gets its status, below /api as JSON with a remedy",
    arguments: [
      ("GET", "/nowhere", 404), ("GET", "/instances/short", 404), ("POST", "/", 405),
      ("DELETE", "/api/v1/bus", 405), ("OPTIONS", "/metrics", 405), ("GET", "/api/v1/x", 404),
      ("GET", "/api/v1/instances?state=gone", 400), ("GET", "/api/v1/history?only=born", 400),
      ("GET", "/api/v1/history?since=yesterday", 400), ("GET", "/api/v1/events?after=x", 400),
      ("GET", "/api/v1/instances/01JDDV3V8Q6W2N4C7T0Z5RKXYB", 404), ("GET", "/%zz", 400),
      ("GET", "/%00", 400), ("GET", "/%ff", 400), ("GET", "/../etc/passwd", 404),
      ("GET", "//nowhere.example", 404), ("POST", "/logout", 404),
    ])
  func refused(method: String, path: String, status: Int) async throws {
    try await with("--app", "default") { _, panel in
      let answer = try await panel.ask(path, method: method)
      #expect(answer.status == status)
      if status == 405 { #expect(answer["allow"]?.contains("GET") == true) }
      guard path.hasPrefix("/api/") else { return }
      let problem = try JSONDecoder().decode([String: String].self, from: Data(answer.body))
      #expect(problem["error"]?.isEmpty == false && problem["remedy"]?.isEmpty == false)
    }
  }

  @Test("a client that takes nothing of what there is gets 406")
  func notAcceptable() async throws {
    try await with("--app", "default") { (_, panel) async throws in
      #expect(try await panel.ask("/", ["Accept": "application/json"]).status == 406)
      #expect(try await panel.ask("/api/v1/bus", ["Accept": "text/html"]).status == 406)
      #expect(try await panel.ask("/", ["Accept": "text/html;q=0, */*"]).status == 406)
      #expect(try await panel.ask("/", ["Accept": "text/*;q=0.5"]).status == 200)
    }
  }

  // MARK: Streams

  @Test("a stream that is cut goes on behind the last event that it told, at another process too")
  func resumes() async throws {
    try await with("--app", "default") { server, panel in
      let bus = Bus(on: server)
      let first = try await panel.follow()
      try await bus.publish(3)
      try await eventually("three are told") { first.eventIDs.count == 3 }
      await first.close()
      try await bus.publish(700)
      let other = try await PanelProcess.start("--app", "default", on: server)
      let last = try #require(first.eventIDs.last)
      let streams = [
        try await panel.follow("", ["Last-Event-ID": last]),
        try await other.follow("?after=\(last)"),
        // A browser that comes back still has the old one in its address.
        try await other.follow("?after=\(first.eventIDs[0])", ["Last-Event-ID": last]),
      ]
      for again in streams {
        try await eventually("the rest is told") { again.eventIDs.count == 700 }
      }
      try await bus.publish(1)
      for again in streams {
        try await eventually("what follows is told") { again.eventIDs.count >= 701 }
        #expect(Set(again.eventIDs).count == again.eventIDs.count)
        #expect(Set(again.eventIDs).isDisjoint(with: first.eventIDs))
        #expect(again.count(of: "gap") == 0)
        await again.close()
      }
    }
  }

  @Test("what the history no longer holds is told as a gap; with since the past is told first")
  func gapAndSince() async throws {
    try await with("--app", "default") { server, panel in
      let bus = Bus(on: server)
      try await bus.publish(50, history: 10)
      try await eventually("all are told") {
        try await panel.ask("/api/v1/bus").text.contains("\"seq\":50")
      }
      let keys = Keys(app: "default")
      let epoch = try #require(try await bus.position?.epoch)
      // The stream is trimmed only by whole nodes, so this test trims it.
      try await server.command("XTRIM", keys.events, "MAXLEN", "10")
      let stream = try await panel.follow("?after=\(epoch)-5")
      try await eventually("it has caught up") { stream.eventIDs.last == "\(epoch)-50" }
      #expect(stream.count(of: "gap") == 1 && stream.text.contains("\"missing\":35"))
      let past = try await panel.follow("?since=1h")
      try await eventually("the past is told") { past.eventIDs.count == 10 }
    }
  }

  @Test("a stream goes on across a restart of Redis with its data, and tells a reset without")
  func restart() async throws {
    try await RedisServer.with(options: ["--appendonly", "yes", "--appendfsync", "always"]) {
      server in
      let panel = try await PanelProcess.start("--app", "default", on: server)
      let bus = Bus(on: server)
      try await bus.publish(3)
      let stream = try await panel.follow("?since=all")
      try await eventually("three are told") { stream.eventIDs.count == 3 }
      server.kill()
      try await eventually("it is said") { stream.text.contains("{\"connection\":\"lost\"}") }
      let bad = try await panel.ask("/readyz")
      #expect(bad.status == 503)
      let page = try await panel.ask("/")
      #expect(page.status == 200 && page.text.contains("no connection to Redis"))
      #expect(try await panel.ask("/api/v1/history").status == 503)
      let patient = try await panel.follow("", ["Last-Event-ID": stream.eventIDs[0]])
      try await server.start()
      try await eventually("it is back") { stream.text.contains("{\"connection\":\"back\"}") }
      try await bus.publish(2)
      try await eventually("five are told") { stream.eventIDs.count == 5 }
      #expect(stream.count(of: "reset") == 0)
      // What came back during the outage waited for its end.
      try await eventually("the rest is told") {
        patient.eventIDs == Array(stream.eventIDs.dropFirst())
      }
      try await server.command("FLUSHALL")
      try await bus.publish(2)
      try await eventually("a reset is told") { stream.count(of: "reset") == 1 }
      // The reset has an id as well.
      try await eventually("what follows is told") { stream.eventIDs.count == 8 }
      #expect(try await panel.ask("/readyz").status == 200)
    }
  }

  @Test("a stream that nobody reads is ended, and memory stays flat")
  func unread() async throws {
    try await with("--app", "default") { server, panel in
      let streams = try await (0..<20).asyncMap { _ in try await panel.follow() }
      for stream in streams { await stream.stopReading() }
      let reader = try await panel.follow()
      let bus = Bus(on: server)
      let before = try panel.process.peakMemory
      // 20 times 28 MB, if it were kept.
      try await bus.publish(4000, size: 7000)
      try await eventually("the reader has all", within: .seconds(60)) {
        reader.eventIDs.count == 4000
      }
      try await eventually("the others are ended", within: .seconds(60)) {
        try await panel.ask("/metrics").text.contains("paasbus_listeners{kind=\"sse\"} 1\n")
      }
      #expect(try panel.process.peakMemory < before + 60_000)
      _ = streams
    }
  }

  @Test("SIGTERM ends it with its streams at once and with status 0")
  func termination() async throws {
    try await with("--app", "default") { _, panel in
      let streams = try await (0..<200).asyncMap { _ in try await panel.follow() }
      panel.process.signal(SIGTERM)
      #expect(try await panel.process.exitStatus(within: .seconds(5)) == 0)
      for stream in streams {
        // A whole body: the chunk that ends it has come.
        #expect(try await stream.untilClosed().hasSuffix("0\r\n\r\n"))
      }
    }
  }

  @Test("a bus that is born while the panel runs is shown")
  func laterBus() async throws {
    try await with { server, panel in
      #expect(try await panel.ask("/").text.contains("waiting for the first"))
      let stream = try await panel.follow()
      _ = try await Paasbus.announce("--name", "web.1", on: server)
      try await eventually("it is told") { stream.count(of: "start") == 1 }
      #expect(try await panel.ask("/").text.contains("1 up"))
    }
  }

  // MARK: Metrics

  @Test("metrics tell the fleet, each series once")
  func metrics() async throws {
    try await with("--app", "default") { server, panel in
      let old = try await Paasbus.announce(
        "--name", "a\"b\\c", "--process", "we\"b\\", "--release", "v1", on: server)
      _ = try await Paasbus.announce("--name", "two", "--release", "v2", on: server)
      for number in 0..<30 {
        let one = try await Paasbus.announce("--release", "r\(number)", on: server)
        one.signal(SIGKILL)
      }
      old.signal(SIGTERM)
      try await eventually("it is told") {
        try await panel.ask("/metrics").text.contains(
          "paasbus_events_total{app=\"default\",type=\"stop\"} 1\n")
      }
      let text = try await panel.ask("/metrics").text
      let series = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        .map { $0.split(separator: " ").dropLast().joined(separator: " ") }
      #expect(Set(series).count == series.count)
      for line in [
        "paasbus_up 1",
        "paasbus_instances{app=\"default\",process=\"\",release=\"r29\",state=\"stopped\"} 0",
        "paasbus_events_total{app=\"default\",type=\"start\"} 32", "paasbus_gaps_total 0",
        "paasbus_listeners{kind=\"sse\"} 0",
      ] {
        #expect(text.contains(line + "\n"), "\(line) in\n\(text)")
      }
      #expect(text.contains("release=\"other\""))
      let releases = Set(text.matches(of: /release="([^"]*)"/).map { String($0.1) })
      #expect(releases.count == 21)
    }
  }
}

extension Sequence {
  func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
    var results: [Result] = []
    for element in self { results.append(try await transform(element)) }
    return results
  }
}
