import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("Announcer")
struct AnnouncerTests {
  private let keys = Keys(app: "shop")

  /// Runs `body` while an instance with the shortest lease is announced, and stops it.
  private func withAnnouncer(
    on server: RedisServer, _ body: (Instance) async throws -> Void
  ) async throws {
    let instance = Instance(app: "shop", name: "web.1", lease: .seconds(2))
    let announcer = Announcer(instance, connector: server.connector)
    let run = Task { try await announcer.run() }
    try await eventually("it is up") { try await present(server).count == 1 }
    try await body(instance)
    announcer.stop(reason: "SIGTERM")
    let ending = try await run.value
    #expect(ending == .stopped)
  }

  private func present(_ server: RedisServer) async throws -> [InstanceStatus] {
    try await server.connector.withConnection { connection in
      try await Snapshot.read(keys: keys, on: connection).instances.filter { $0.state == .up }
    }
  }

  @Test("heartbeats move the lease and never shorten it")
  func heartbeats() async throws {
    try await RedisServer.with { server in
      try await withAnnouncer(on: server) { instance in
        let first = try await present(server).first?.leaseEnd ?? 0
        try await eventually("the lease moves") {
          try await present(server).first?.leaseEnd ?? 0 > first
        }
        let far = first + 100_000
        try await server.command("ZADD", keys.leases, "\(far)", instance.id)
        let beats = try await beatCount(server)
        try await eventually("two more beats") { try await beatCount(server) >= beats + 2 }
        let end = try await present(server).first?.leaseEnd
        #expect(end == far)
      }
    }
  }

  @Test("a draining instance beats on a new connection, also where no script runs")
  func drainingWithoutScripts() async throws {
    try await RedisServer.with { server in
      let instance = Instance(app: "shop", name: "web.1", lease: .seconds(2))
      let announcer = Announcer(instance, connector: server.connector)
      let run = Task { try await announcer.run() }
      try await eventually("it is up") { try await present(server).count == 1 }
      announcer.drain(reason: "SIGTERM")
      try await eventually("it drains") { try await present(server).isEmpty }
      try await server.command("ACL", "SETUSER", "default", "-evalsha", "-eval")
      try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      let begun = try await leaseEnd(server, instance.id)
      try await eventually("its lease is renewed for longer than it lasts") {
        try await leaseEnd(server, instance.id) > begun + 4000
      }
      try await server.command("ACL", "SETUSER", "default", "+@all")
      announcer.stop(reason: "SIGTERM")
      let ending = try await run.value
      #expect(ending == .stopped)
    }
  }

  private func leaseEnd(_ server: RedisServer, _ id: String) async throws -> Int64 {
    try await server.command("ZSCORE", keys.leases, id).integer ?? 0
  }

  private func beatCount(_ server: RedisServer) async throws -> Int {
    let text = try await server.command("INFO", "commandstats").string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first {
      $0.hasPrefix("cmdstat_hexists:calls=")
    }
    return line.flatMap { Int($0.dropFirst(22).prefix { $0.isNumber }) } ?? 0
  }

  @Test(
    "whatever key Redis loses, the instance is there again, its start unchanged",
    arguments: [
      "bus", "instances", "leases", "events",
    ])
  func lostKeys(name: String) async throws {
    try await RedisServer.with { server in
      try await withAnnouncer(on: server) { _ in
        let before = try await present(server).first
        try await server.command("DEL", "paasbus:{shop}:\(name)")
        try await eventually("it is there again") {
          let now = try await present(server).first
          let bus = try await server.command("HGET", keys.bus, "channel").string
          return now?.instance == before?.instance && now?.leaseEnd != before?.leaseEnd
            && bus == "instances"
        }
      }
    }
  }

  @Test("while nobody can renew a lease since the server is full, the time counts for nobody")
  func full() async throws {
    try await RedisServer.with { server in
      // Those with a short lease try again sooner, and could take the others for dead.
      let announcers = (1...8).map { number in
        Announcer(
          Instance(app: "shop", name: "web.\(number)", lease: .seconds(number < 3 ? 2 : 6)),
          connector: server.connector)
      }
      let runs = announcers.map { announcer in Task { try await announcer.run() } }
      try await eventually("all are up") { try await present(server).count == 8 }
      try await server.command("CONFIG", "SET", "maxmemory", "1")
      try await pass(.seconds(12))
      try await server.command("CONFIG", "SET", "maxmemory", "0")
      try await pass(.seconds(3))
      let instances = try await server.connector.withConnection { connection in
        try await Snapshot.read(keys: keys, on: connection)
      }
      #expect(instances.position?.seq == 8, "somebody was told lost")
      for announcer in announcers { announcer.stop(reason: "SIGTERM") }
      for run in runs { _ = try await run.value }
    }
  }

  @Test("after FLUSHALL it is back")
  func flushed() async throws {
    try await RedisServer.with { server in
      try await withAnnouncer(on: server) { _ in
        let before = try await present(server).first?.instance
        try await server.command("FLUSHALL")
        try await eventually("it is back") {
          try await present(server).first?.instance == before
        }
        let history = try await server.cli("XRANGE", keys.events, "-", "+")
        #expect(history.contains(#""type":"back""#) && !history.contains(#""type":"start""#))
      }
    }
  }

  @Test("killed connections cost nothing: no event, the same start")
  func killedConnections() async throws {
    try await RedisServer.with { server in
      try await withAnnouncer(on: server) { _ in
        for _ in 0..<20 {
          try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
          try await eventually("it is connected") {
            let clients = try await server.command("CLIENT", "LIST").string ?? ""
            return clients.split(separator: "\n").count >= 2
          }
        }
        let length = try await server.command("XLEN", keys.events)
        #expect(length == .integer(1))
      }
    }
  }

  @Test("a dead instance is reaped by another announcer alone")
  func reapedByPeer() async throws {
    try await RedisServer.with { server in
      try await withAnnouncer(on: server) { _ in
        let dead = Instance(app: "shop", name: "dead", lease: .seconds(2))
        try await server.connector.withConnection { connection in
          _ = try await Transitions(keys: keys).start(
            dead, elapsed: .zero, channel: nil, history: nil, on: connection)
        }
        try await eventually("it is lost") {
          try await server.cli("XRANGE", keys.events, "-", "+").contains(#""reason":"lease""#)
        }
      }
    }
  }

  @Test("stopped at any moment of its start, it leaves nothing up", arguments: 0..<25)
  func stoppedEarly(delay: Int) async throws {
    try await RedisServer.with { server in
      let instance = Instance(app: "shop", name: "web.1", lease: .seconds(2))
      let announcer = Announcer(instance, connector: server.connector)
      let run = Task { try await announcer.run() }
      for _ in 0..<(delay * 40) { await Task.yield() }
      announcer.stop(reason: "SIGTERM")
      let ending = try await run.value
      let left = try await present(server)
      let history = try await server.cli("XRANGE", keys.events, "-", "+")
      let starts = history.components(of: #""type":"start""#)
      let stops = history.components(of: #""type":"stop""#)
      #expect(left.isEmpty && starts == stops && starts <= 1)
      #expect(ending == .neverAnnounced || ending == .stopped)
    }
  }
}

extension String {
  /// How often a text occurs.
  fileprivate func components(of text: String) -> Int {
    ranges(of: text).count
  }
}
