import Foundation
import Redis
import TestSupport
import Testing

@testable import Presence

@Suite("Under faults")
struct ReliabilityTests {
  private let keys = Keys(app: "default")

  /// Publishes `count` events, the starts of as many instances that nobody beats for.
  private func publish(_ count: Int, on server: RedisServer) async throws {
    let transitions = Transitions(keys: keys)
    try await server.connector.withConnection { connection in
      for _ in 0..<count {
        let instance = Instance(app: "default", name: "w", lease: .seconds(300))
        _ = try await transitions.start(
          instance, elapsed: .zero, channel: nil, history: 100_000, on: connection)
      }
    }
  }

  private func bus(_ server: RedisServer) async throws -> Int64 {
    try await server.command("HGET", keys.bus, "seq").integer ?? 0
  }

  /// Expects every event of the bus, once and in order.
  private func expectAll(_ watch: ManagedProcess, on server: RedisServer) async throws {
    let last = try await bus(server)
    try await eventually("event \(last) is shown", within: .seconds(60)) {
      watch.lines.last?.contains("\"seq\":\(last),") ?? false
    }
    let numbers = watch.objects.compactMap { object -> Int64? in
      guard case .number(let seq)? = object["seq"] else { return nil }
      return seq
    }
    #expect(numbers == Array(1...last))
    #expect(!watch.objects.contains { $0["source"] == .string("watch") })
  }

  @Test("nothing is missed or doubled while the watcher's connections are killed")
  func killedConnections() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      for _ in 0..<30 {
        try await publish(20, on: server)
        try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
        try await publish(20, on: server)
        try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      }
      try await expectAll(watch, on: server)
      #expect(watch.output.contains(#""source":"replay""#))
    }
  }

  @Test("nothing is missed while the watcher itself is stopped, even beyond Redis' buffer for it")
  func stoppedWatcher() async throws {
    try await RedisServer.with(
      options: ["--client-output-buffer-limit", "pubsub 100000 50000 1"]
    ) { server in
      let watch = try await Paasbus.watch(on: server)
      try await publish(10, on: server)
      watch.signal(SIGSTOP)
      try await publish(5_000, on: server)
      watch.signal(SIGCONT)
      try await publish(10, on: server)
      try await expectAll(watch, on: server)
    }
  }

  @Test("nothing is missed while the server stands still for seconds")
  func frozenServer() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      try await publish(10, on: server)
      let frozen = ContinuousClock.now
      server.freeze()
      try await eventually("the lease is long over") { ContinuousClock.now - frozen > .seconds(4) }
      server.thaw()
      try await publish(10, on: server)
      try await expectAll(watch, on: server)
      #expect(watch.objects(ofType: "lost").isEmpty)
      announce.signal(SIGTERM)
    }
  }

  @Test("a restart with its data loses nothing and nobody")
  func restartWithData() async throws {
    try await RedisServer.with(options: ["--appendonly", "yes", "--appendfsync", "always"]) {
      server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      try await publish(10, on: server)
      server.kill()
      try await eventually("both noticed") {
        watch.errorOutput.contains("trying") && announce.errorOutput.contains("trying")
      }
      try await server.start()
      try await publish(10, on: server)
      try await expectAll(watch, on: server)
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      try await expectAll(watch, on: server)
    }
  }

  @Test("a server that comes back with older data is a reset, and nothing new is missed")
  func olderData() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      try await publish(10, on: server)
      try await server.command("SAVE")
      try await publish(5, on: server)
      try await eventually("all is seen") { watch.objects(ofType: "start").count == 15 }
      // Once compared, what was seen is certain, and its loss no forgery.
      let compared = try await pings(server)
      try await eventually("it is compared") { try await pings(server) > compared }
      server.kill()
      try await server.start()
      try await publish(7, on: server)
      try await eventually("the new ones are seen") {
        watch.objects(ofType: "start").count == 22
      }
      #expect(watch.objects(ofType: "reset").count == 1)
      #expect(watch.objects(ofType: "retracted").isEmpty)
      let after = watch.objects.drop { $0["type"] != .string("reset") }.dropFirst()
      #expect(after.map { $0["seq"] } == (11...17).map { .number($0) })
    }
  }

  private func pings(_ server: RedisServer) async throws -> Int64 {
    let text = try await server.command("INFO", "commandstats").string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("cmdstat_hmget:") }
    let count = line?.drop { $0 != "=" }.dropFirst().prefix { $0.isNumber }
    return count.flatMap { Int64($0) } ?? 0
  }

  @Test("a silent network is noticed, and what was missed is replayed")
  func halfOpen() async throws {
    try await RedisServer.with { server in
      let proxy = try await SilentProxy(to: server)
      let watch = try Paasbus.start("watch", "--json", "--url", proxy.url)
      try await eventually("it watches") { watch.errorOutput.contains("waiting") }
      try await publish(5, on: server)
      _ = try await watch.waitFor("start", count: 5)
      proxy.fallSilent()
      try await publish(5, on: server)
      try await eventually("it notices", within: .seconds(60)) {
        watch.errorOutput.contains("trying again")
      }
      proxy.speak()
      try await expectAll(watch, on: server)
    }
  }

  @Test("after an outage longer than the lease nobody is lost who lives", arguments: [true, false])
  func outage(keepsData: Bool) async throws {
    let options = keepsData ? ["--appendonly", "yes", "--appendfsync", "always"] : []
    try await RedisServer.with(options: options) { server in
      var watches: [ManagedProcess] = []
      for _ in 0..<3 { watches.append(try await Paasbus.watch(on: server)) }
      let fleet = (0..<200).map { number in
        let instance = Instance(app: "default", name: "w\(number)", lease: .seconds(2))
        return Announcer(instance, connector: server.connector)
      }
      let runs = fleet.map { announcer in Task { try await announcer.run() } }
      for watch in watches { _ = try await watch.waitFor("start", count: 200) }
      let killed = ContinuousClock.now
      server.kill()
      try await eventually("every lease is over") { ContinuousClock.now - killed > .seconds(3) }
      try await server.start()
      try await eventually("all are up again") {
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let leases = try await server.command("ZCOUNT", keys.leases, "\(now)", "+inf")
        return leases == .integer(200)
      }
      for announcer in fleet { announcer.stop(reason: "SIGTERM") }
      for run in runs { _ = try await run.value }
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
      let watch = try await Paasbus.watch(on: server)
      let fleet = (0..<50).map { number in
        let instance = Instance(app: "default", name: "w\(number)", lease: .seconds(2))
        return Announcer(instance, connector: server.connector)
      }
      let runs = fleet.map { announcer in Task { try await announcer.run() } }
      _ = try await watch.waitFor("start", count: 50)
      for _ in 0..<2 {
        let frozen = ContinuousClock.now
        server.freeze()
        try await eventually("every lease is over") { ContinuousClock.now - frozen > .seconds(3) }
        server.thaw()
        let thawed = ContinuousClock.now
        try await eventually("a lease has passed") { ContinuousClock.now - thawed > .seconds(3) }
      }
      for announcer in fleet { announcer.stop(reason: "SIGTERM") }
      for run in runs { _ = try await run.value }
      _ = try await watch.waitFor("stop", count: 50)
      #expect(watch.objects(ofType: "lost").isEmpty)
    }
  }
}
