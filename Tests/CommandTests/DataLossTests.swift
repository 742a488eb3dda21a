import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("When Redis loses data")
struct DataLossTests {
  @Test("a server that comes back with older data is a reset, and nothing new is missed")
  func olderData() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      try await bus.publish(10)
      try await server.command("SAVE")
      try await bus.publish(5)
      try await eventually("all is seen") { watch.objects(ofType: "start").count == 15 }
      // Once compared, what was seen is certain, and its loss no forgery.
      try await bus.awaitComparison()
      server.kill()
      try await server.start()
      try await bus.publish(7)
      try await eventually("the new ones are seen") {
        watch.objects(ofType: "start").count == 22
      }
      #expect(watch.objects(ofType: "reset").count == 1)
      #expect(watch.objects(ofType: "retracted").isEmpty)
      let after = watch.objects.drop { $0["type"] != .string("reset") }.dropFirst()
      #expect(after.map { $0["seq"] } == (11...17).map { .number($0) })
    }
  }

  @Test("a bus that is gone and that nobody announces on again is a reset")
  func goneForGood() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--name", "w", on: server)
      let watch = try await Paasbus.watch(on: server)
      try await eventually("it shows who is there") { !watch.lines.isEmpty }
      announce.signal(SIGKILL)
      server.kill()
      try await server.start()
      let reset = try await watch.waitFor("reset")
      #expect(reset.first?["epoch"] == nil)
      let other = try await Paasbus.announce("--name", "x", on: server)
      _ = try await watch.waitFor("start")
      other.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 4, "\(watch.output)")
    }
  }

  @Test("after a fail-over that lost the last writes everybody is there again, and nobody lost")
  func failOver() async throws {
    try await RedisServer.with(usesTCP: true) { master in
      try await RedisServer.with { replica in
        let proxy = try await Proxy(to: master)
        let watch = try Paasbus.start("watch", "--json", "--app", "default", "--url", proxy.url)
        try await eventually("it watches") { watch.errorOutput.contains("watching") }
        let fleet = await Bus(on: master).startFleet(10, connector: proxy.connector)
        _ = try await watch.waitFor("start", count: 10)
        try await replica.command("REPLICAOF", "127.0.0.1", "\(master.port ?? 0)")
        try await eventually("the replica has it") {
          try await replica.command("HLEN", Keys(app: "default").instances) == .integer(10)
        }
        // From here on the replica misses what is written.
        try await replica.command("REPLICAOF", "NO", "ONE")
        let late = await Bus(on: master).startFleet(5, named: "late", connector: proxy.connector)
        _ = try await watch.waitFor("start", count: 15)
        let before = try await Bus(on: master).present
        try await Bus(on: master).awaitComparison()
        try await proxy.point(to: replica)
        master.kill()
        try await eventually("all fifteen are there") {
          try await Bus(on: replica).present.count == 15
        }
        let after = try await Bus(on: replica).present
        #expect(after.mapValues(\.started) == before.mapValues(\.started))
        try await fleet.end()
        try await late.end()
        try await eventually("all have stopped") { try await Bus(on: replica).present.isEmpty }
        let last = try await Bus(on: replica).last
        try await eventually("it is shown") { watch.numbers.last == last }
        #expect(watch.objects(ofType: "lost").isEmpty)
        #expect(watch.objects(ofType: "reset").count == 1)
        let anew = watch.objects.drop { $0["type"] != .string("reset") }.dropFirst()
        #expect(anew.map { $0["seq"] } == (11...last).map { .number($0) }, "\(watch.output)")
      }
    }
  }

  @Test(
    "what is evicted is there again within a beat", arguments: ["volatile-lru", "allkeys-lru"])
  func eviction(policy: String) async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      let fleet = await bus.startFleet(10)
      _ = try await watch.waitFor("start", count: 10)
      let before = try await bus.present
      let used = try await server.command("INFO", "memory").string ?? ""
      let start = used.firstRange(of: "used_memory:")?.upperBound ?? used.endIndex
      let bytes = Int(used[start...].prefix { $0.isNumber }) ?? 0
      try await server.command("CONFIG", "SET", "maxmemory-policy", policy)
      try await server.command("CONFIG", "SET", "maxmemory", "\(bytes + 1_000_000)")
      // Other data of the app, which has to go somewhere.
      for number in 0..<40 {
        try await server.cli(
          "-x", "SET", "other\(number)", input: Array(repeating: 0x78, count: 100_000))
      }
      try await server.command("CONFIG", "SET", "maxmemory", "0")
      try await eventually("everybody is there") {
        try await bus.present.mapValues(\.started) == before.mapValues(\.started)
      }
      let statistics = try await server.command("INFO", "stats").string ?? ""
      #expect(!statistics.contains("evicted_keys:0\r"))
      try await fleet.end()
      try await eventually("all have stopped") { watch.objects(ofType: "stop").count == 10 }
      #expect(watch.objects(ofType: "lost").isEmpty)
    }
  }
}
