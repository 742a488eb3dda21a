import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("Who is lost, and who is not")
struct LossTests {
  @Test(
    "a killed instance is lost by its connection, and said so once, however many watch",
    arguments: [1, 50])
  func killed(watchers: Int) async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      var watches: [ManagedProcess] = []
      for _ in 0..<watchers { watches.append(try await Paasbus.watch(on: server)) }
      let announce = try await Paasbus.announce("--name", "w", "--lease", "5m", on: server)
      for watch in watches { _ = try await watch.waitFor("start") }
      // Twice as many lists as there can be watchers: each has seen the announcer's connection.
      let lists = try await bus.calls("client|list")
      try await eventually("the connection is seen") {
        try await bus.calls("client|list") > lists + 2 * Int64(watchers)
      }
      announce.signal(SIGKILL)
      for watch in watches {
        let lost = try #require(try await watch.waitFor("lost").first)
        #expect(lost["reason"] == .string("connection"))
        #expect(lost["expired"] == nil)
      }
      let other = try await Paasbus.announce("--name", "x", on: server)
      for watch in watches {
        _ = try await watch.waitFor("start", count: 2)
        #expect(watch.objects(ofType: "lost").count == 1)
      }
      #expect(try await bus.history.count { $0.contains(#""type":"lost""#) } == 1)
      other.signal(SIGTERM)
    }
  }

  @Test("where the server does not list its clients, a killed instance is lost by its lease")
  func killedUnseen() async throws {
    try await RedisServer.with { server in
      try await server.command(
        "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-client",
        "+client|setname")
      let watch = try Paasbus.start(
        "watch", "--json", environment: ["PAASBUS_URL": "unix://blind:pw@\(server.socketPath)"])
      try await eventually("it watches") { watch.errorOutput.contains("waiting") }
      let announce = try await Paasbus.announce("--name", "w", "--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      announce.signal(SIGKILL)
      let lost = try #require(try await watch.waitFor("lost").first)
      #expect(lost["reason"] == .string("lease"))
      #expect(lost["expired"] != nil)
    }
  }

  @Test("where leases are long and short, a short one is told a second after its end at the latest")
  func mixedLeases() async throws {
    try await RedisServer.with { server in
      try await server.command(
        "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-client")
      let watch = try Paasbus.start(
        "watch", "--json", environment: ["PAASBUS_URL": "unix://blind:pw@\(server.socketPath)"])
      try await eventually("it watches") { watch.errorOutput.contains("waiting") }
      let long = try await Paasbus.announce("--name", "long", "--lease", "5m", on: server)
      for number in 1...3 {
        let short = try await Paasbus.announce("--name", "short", "--lease", "2s", on: server)
        _ = try await watch.waitFor("start", count: number + 1)
        short.signal(SIGKILL)
        let lost = try #require(try await watch.waitFor("lost", count: number).last)
        guard case .number(let expired)? = lost["expired"], case .number(let at)? = lost["at"]
        else { throw POSIXError(.EINVAL) }
        #expect((0...1000).contains(at - expired), "\(at - expired) ms")
      }
      long.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.objects(ofType: "lost").count == 3)
    }
  }

  @Test("with announcers alone a killed instance is lost, by one of them")
  func announcersAlone() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let fleet = await bus.startFleet(30)
      let killed = try await Paasbus.announce("--name", "killed", "--lease", "2s", on: server)
      killed.signal(SIGKILL)
      try await eventually("it is lost") {
        try await bus.history.contains { $0.contains(#""type":"lost""#) }
      }
      try await fleet.end()
      #expect(try await bus.history.count { $0.contains(#""type":"lost""#) } == 1)
    }
  }

  @Test("an announcer whose connection is killed again and again is never lost")
  func killedConnections() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "w", on: server)
      _ = try await watch.waitFor("start")
      try await server.connector.withConnection { connection in
        for _ in 1...1000 {
          for type in ["normal", "pubsub"] {
            let kill = RedisCommand("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")
            _ = try await connection.send(kill)
          }
          try await eventually("it is connected") {
            try await connection.send(RedisCommand("CLIENT", "LIST")).string?
              .contains("name=paasbus:") ?? false
          }
        }
      }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2, "\(watch.output)")
    }
  }

  @Test("a frozen instance is lost and then back, with its old start")
  func frozen() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "w", "--lease", "2s", on: server)
      announce.signal(SIGSTOP)
      #expect(try await watch.waitFor("lost").first?["reason"] == .string("lease"))
      announce.signal(SIGCONT)
      let back = try #require(try await watch.waitFor("back").first)
      #expect(back["started"] == watch.objects(ofType: "start").first?["started"])
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(
        watch.objects.map { $0["type"] } == ["start", "lost", "back", "stop"].map { .string($0) })
    }
  }
}
