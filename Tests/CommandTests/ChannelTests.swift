import Foundation
import TestSupport
import Testing

@Suite("The channel, with other clients on it")
struct ChannelTests {
  @Test("a watch that waits for the first bus asks for it once a second")
  func waitsQuietly() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      #expect(watch.errorOutput.contains("waiting"))
      let before = try await bus.calls("zrange")
      try await pass(.seconds(3))
      let asked = try await bus.calls("zrange") - before
      #expect((1...6).contains(asked), "\(asked)")
    }
  }

  @Test("the tutorial's bare words from redis-cli are foreign events")
  func foreign() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      try await server.cli("PUBLISH", "instances", "start")
      try await server.cli("PUBLISH", "instances", "stop")
      let stop = try #require(try await watch.waitFor("stop").first)
      #expect(stop["foreign"] == .bool(true))
      #expect(stop["name"] == .string("(unnamed)"))
      #expect(stop["id"] == nil && stop["seq"] == nil && stop["epoch"] == nil)
      #expect(watch.objects(ofType: "start").count == 1)
    }
  }

  @Test("--plain speaks the tutorial's words to redis-cli, and a watcher shows each event once")
  func plain() async throws {
    try await RedisServer.with { server in
      let cli = try ManagedProcess(
        "redis-cli", ["-s", server.socketPath, "--csv", "SUBSCRIBE", "instances"])
      try await eventually("redis-cli listens") { cli.output.contains("subscribe") }
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--plain", "--name", "w", on: server)
      announce.signal(SIGTERM)
      _ = try await announce.exitStatus()
      try await eventually("redis-cli has all") { Self.payloads(cli).count == 4 }
      let payloads = Self.payloads(cli)
      #expect(payloads[1] == #""start""# && payloads[3] == #""stop""#)
      #expect(payloads[0].contains("plain") && payloads[2].contains("plain"))
      _ = try await watch.waitFor("stop")
      try await server.cli("PUBLISH", "instances", "marker")
      _ = try await watch.waitFor("message")
      #expect(watch.lines.count == 3)
    }
  }

  /// What redis-cli shows as the content of messages.
  private static func payloads(_ cli: ManagedProcess) -> [String] {
    let prefix = #""message","instances","#
    return cli.lines.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
  }

  @Test("what is no event is shown harmlessly, and true events still come")
  func rubbish() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let rubbish: [[UInt8]] = [
        Array("hello".utf8), Array(#"{"v":1,"type":"start""#.utf8), [0xFF, 0xFE, 0x00, 0x1B],
        Array(repeating: 0x41, count: 1_000_000), Array("\u{1b}[2J\u{202e}x".utf8), [],
        Array(repeating: 0x5B, count: 6000), Array(#"{"v":99}"#.utf8),
      ]
      for bytes in rubbish {
        try await server.cli("-x", "PUBLISH", "instances", input: bytes)
      }
      let messages = try await watch.waitFor("message", count: rubbish.count)
      #expect(messages.count == rubbish.count)
      #expect(messages.allSatisfy { $0["text"] != nil })
      #expect(!watch.output.contains("\u{1b}") && !watch.output.contains("\u{202e}"))
      let announce = try await Paasbus.announce(on: server)
      _ = try await watch.waitFor("start")
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
    }
  }

  @Test("the text form shows rubbish as one visible line")
  func rubbishAsText() async throws {
    try await RedisServer.with { server in
      let watch = try Paasbus.start("watch", on: server)
      try await eventually("it waits") { watch.errorOutput.contains("waiting") }
      try await server.cli("PUBLISH", "instances", "a\nb\u{1b}[31m")
      try await eventually("it is shown") { !watch.lines.isEmpty }
      #expect(watch.lines == ["? message a\\nb\\u{1b}[31m"])
    }
  }

  @Test("a lie about the next event is retracted")
  func lie() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--name", "w", on: server)
      let watch = try await Paasbus.watch(on: server)
      let page = try await server.cli("XRANGE", "paasbus:{default}:events", "-", "+")
      let true1 = try #require(page.split(separator: "\n").first { $0.contains("seq") })
      let lie = true1.replacing(#""seq":1"#, with: #""seq":2"#).drop { $0 != "{" }
      try await server.cli("PUBLISH", "instances", String(lie))
      _ = try await watch.waitFor("start")
      let retracted = try await watch.waitFor("retracted")
      #expect(retracted.first?["seq"] == .number(2))
      announce.signal(SIGTERM)
      #expect(try await watch.waitFor("stop").first?["seq"] == .number(2))
    }
  }

  @Test("a lie about an app that has no bus is a message, and the first true app is found")
  func lieBeforeTheFirstBus() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let named = try await Paasbus.watch("--app", "shop", on: server)
      let lie =
        #"{"v":1,"type":"start","epoch":5,"seq":1,"at":5,"app":"shop","id":"x","name":"liar","#
        + #""started":1,"lease":15000}"#
      try await server.cli("PUBLISH", "instances", lie)
      _ = try await watch.waitFor("message")
      _ = try await named.waitFor("message")
      let announce = try await Paasbus.announce("--app", "shop", on: server)
      for watch in [watch, named] {
        _ = try await watch.waitFor("start")
        #expect(watch.lines.count == 2, "\(watch.output)")
      }
      announce.signal(SIGTERM)
    }
  }

  @Test("another app on the same channel is not mixed in")
  func otherApp() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch("--app", "shop", on: server)
      let other = try await Paasbus.announce("--app", "blog", on: server)
      let own = try await Paasbus.announce("--app", "shop", on: server)
      _ = try await watch.waitFor("start")
      #expect(watch.objects.map { $0["app"] } == [.string("shop")])
      try await watch.waitToSay("blog")
      let several = try Paasbus.start("list", on: server)
      #expect(try await several.exitStatus() == 78)
      #expect(several.errorOutput.contains("blog, shop"))
      for process in [own, other] { process.signal(SIGTERM) }
    }
  }

  @Test("the bus keeps its channel: another one is refused")
  func channels() async throws {
    try await RedisServer.with { server in
      let one = try await Paasbus.announce("--channel", "mine", on: server)
      for command in ["announce", "watch", "list"] {
        let two = try Paasbus.start(command, "--channel", "other", on: server)
        #expect(try await two.exitStatus() == 78)
      }
      let watch = try await Paasbus.watch(on: server)
      one.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
    }
  }
}
