import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("Under faults")
struct ReliabilityTests {
  @Test("nothing is missed or doubled while the watcher's connections are killed")
  func killedConnections() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      for _ in 0..<30 {
        try await bus.publish(20)
        try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
        try await bus.publish(20)
        try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      }
      try await bus.expectAll(watch)
      #expect(watch.output.contains(#""source":"replay""#))
    }
  }

  @Test("nothing is missed while the watcher itself is stopped, even beyond Redis' buffer for it")
  func stoppedWatcher() async throws {
    try await RedisServer.with { server in
      try await server.command(
        "CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 50000 1")
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      try await bus.publish(10)
      watch.signal(SIGSTOP)
      try await bus.publish(5_000)
      watch.signal(SIGCONT)
      try await bus.publish(10)
      try await bus.expectAll(watch)
    }
  }

  @Test("what the history no longer holds is a gap with the number missing")
  func gap() async throws {
    try await RedisServer.with { server in
      try await server.command(
        "CONFIG", "SET", "client-output-buffer-limit", "pubsub 20000 10000 1")
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      try await bus.publish(10, history: 100)
      _ = try await watch.waitFor("start", count: 10)
      watch.signal(SIGSTOP)
      try await bus.publish(2_000, history: 100)
      watch.signal(SIGCONT)
      try await eventually("it has caught up") { watch.numbers.last == 2_010 }
      let gap = try #require(watch.objects(ofType: "gap").first)
      guard case .number(let from)? = gap["from"], case .number(let to)? = gap["to"] else {
        throw POSIXError(.EINVAL)
      }
      #expect(gap["missing"] == .number(to - from + 1))
      #expect(watch.numbers == Array(1..<from) + Array((to + 1)...2_010))
      #expect(watch.objects(ofType: "gap").count == 1)
    }
  }

  @Test("nothing is missed while the server stands still for seconds")
  func frozenServer() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      try await bus.publish(10)
      server.freeze()
      try await pass(.seconds(4))
      server.thaw()
      try await bus.publish(10)
      try await bus.expectAll(watch)
      #expect(watch.objects(ofType: "lost").isEmpty)
      announce.signal(SIGTERM)
    }
  }

  @Test("a restart with its data loses nothing and nobody")
  func restartWithData() async throws {
    try await RedisServer.with(options: ["--appendonly", "yes", "--appendfsync", "always"]) {
      server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      try await bus.publish(10)
      server.kill()
      try await eventually("both noticed") {
        watch.errorOutput.contains("trying") && announce.errorOutput.contains("trying")
      }
      try await server.start()
      try await bus.publish(10)
      try await bus.expectAll(watch)
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      try await bus.expectAll(watch)
    }
  }

  @Test("a silent network is noticed, and what was missed is replayed")
  func halfOpen() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let proxy = try await Proxy(to: server)
      let watch = try Paasbus.start("watch", "--json", "--url", proxy.url)
      try await eventually("it watches") { watch.errorOutput.contains("waiting") }
      try await bus.publish(5)
      _ = try await watch.waitFor("start", count: 5)
      proxy.fallSilent()
      try await bus.publish(5)
      try await eventually("it notices", within: .seconds(60)) {
        watch.errorOutput.contains("trying again")
      }
      proxy.speak()
      try await bus.expectAll(watch)
    }
  }

  @Test("an announcer behind a silent network that speaks again is not lost")
  func halfOpenAnnouncer() async throws {
    try await RedisServer.with { server in
      let proxy = try await Proxy(to: server)
      let watch = try await Paasbus.watch(on: server)
      let announce = try Paasbus.start("announce", "--lease", "6s", "--url", proxy.url)
      _ = try await watch.waitFor("start")
      // Its connection is dead for ever, but a new one can be made before the lease is over.
      proxy.fallSilent()
      try await pass(.milliseconds(100))
      proxy.speak()
      try await pass(.seconds(8))
      #expect(watch.lines.count == 1, "\(watch.output)")
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
    }
  }

  @Test("after an outage longer than the lease nobody is lost who lives", arguments: [true, false])
  func outage(keepsData: Bool) async throws {
    let options = keepsData ? ["--appendonly", "yes", "--appendfsync", "always"] : []
    try await RedisServer.with(options: options) { server in
      let bus = Bus(on: server)
      var watches: [ManagedProcess] = []
      for _ in 0..<3 { watches.append(try await Paasbus.watch(on: server)) }
      let fleet = await bus.startFleet(200)
      for watch in watches { _ = try await watch.waitFor("start", count: 200) }
      server.kill()
      try await pass(.seconds(7))
      try await server.start()
      try await eventually("all are up again") {
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let leases = try await server.command("ZCOUNT", bus.keys.leases, "\(now)", "+inf")
        return leases == .integer(200)
      }
      try await fleet.end()
      for watch in watches {
        _ = try await watch.waitFor("stop", count: 200)
        #expect(watch.objects(ofType: "lost").isEmpty)
        #expect(watch.objects(ofType: "back").count == (keepsData ? 0 : 200))
      }
    }
  }

  @Test("a server that stood still for longer than the leases loses nobody")
  func frozenFleet() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      let fleet = await bus.startFleet(50)
      _ = try await watch.waitFor("start", count: 50)
      for _ in 0..<2 {
        server.freeze()
        try await pass(.seconds(7))
        server.thaw()
        try await pass(.seconds(4))
      }
      try await fleet.end()
      _ = try await watch.waitFor("stop", count: 50)
      #expect(watch.objects(ofType: "lost").isEmpty)
    }
  }
}
