import TestSupport
import Testing

@testable import PaasbusRedis
@testable import Presence

@Suite("Transitions, each a script on a real server")
struct TransitionTests {
  private let keys = Keys(app: "shop")
  private var transitions: Transitions { Transitions(keys: keys) }

  private func instance(_ name: String = "web.1") -> Instance {
    Instance(app: "shop", name: name, lease: .seconds(15))
  }

  private func with(
    _ body: (RedisServer, RedisConnection) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      try await server.connector.withConnection { try await body(server, $0) }
    }
  }

  private func start(
    _ instance: Instance, on connection: RedisConnection, channel: String? = nil
  ) async throws -> Transitions.Outcome {
    try await transitions.start(
      instance, elapsed: .seconds(2), channel: channel, history: nil, on: connection)
  }

  private func stop(
    _ instance: Instance, on connection: RedisConnection
  ) async throws -> Transitions.Outcome {
    try await transitions.stop(
      instance, elapsed: .zero, stop: InstanceStop(reason: "SIGTERM"), on: connection)
  }

  private func reap(
    _ id: String, on connection: RedisConnection, reason: String = "connection"
  ) async throws -> String {
    let end = try await connection.send(RedisCommand("ZSCORE", keys.leases, id)).integer ?? 0
    return try await transitions.reap(
      LeaseObserver.Lost(id: id, end: end), latest: .max / 2, reason: reason, on: connection
    ).word
  }

  /// The types of all events, in order; fails where a number is missing.
  private func events(_ connection: RedisConnection) async throws -> [String] {
    var types: [String] = []
    try await History(keys: keys).read(on: connection) { page in
      for entry in page {
        let event = try #require(Event.read(entry.bytes))
        #expect(event.position == entry.position)
        types.append(event.type.rawValue)
      }
    }
    return types
  }

  @Test("the scripts have the digests that the server makes of them")
  func digests() async throws {
    try await RedisServer.with { server in
      try await server.connector.withConnection { connection in
        for script in Scripts().all {
          let text = String(decoding: script.source, as: UTF8.self)
          let reply = try await connection.send(RedisCommand("SCRIPT", "LOAD", text))
          #expect(reply.string == script.digest)
        }
      }
    }
  }

  @Test("start writes record, lease, number and history, all with a time to live")
  func start() async throws {
    try await with { _, connection in
      let instance = instance()
      let outcome = try await start(instance, on: connection)
      #expect(outcome.word == "start" && outcome.position.seq == 1)
      #expect(outcome.started == outcome.now - 2000)
      #expect(outcome.channel == "instances")
      let snapshot = try await Snapshot.read(keys: keys, on: connection)
      #expect(snapshot.position == outcome.position)
      let status = try #require(snapshot.instances.first)
      #expect(status.state == .up && status.seq == 1)
      #expect(status.leaseEnd == outcome.now + 15_000)
      for key in [keys.bus, keys.instances, keys.leases, keys.events] {
        let left = try await connection.send(RedisCommand("TTL", key)).integer ?? 0
        #expect((604_000...604_800).contains(left), "\(key)")
      }
    }
  }

  @Test("every transition is idempotent by state")
  func idempotence() async throws {
    try await with { _, connection in
      var instance = instance()
      let first = try await start(instance, on: connection)
      instance.started = first.started
      let words = [
        try await start(instance, on: connection).word,
        try await transitions.drain(instance.id, reason: "SIGTERM", on: connection).word,
        try await transitions.drain(instance.id, reason: "SIGTERM", on: connection).word,
        try await start(instance, on: connection).word,
        try await reap(instance.id, on: connection),
        try await reap(instance.id, on: connection),
        try await start(instance, on: connection).word,
        try await stop(instance, on: connection).word,
        try await stop(instance, on: connection).word,
        try await start(instance, on: connection).word,
        try await reap(instance.id, on: connection),
      ]
      #expect(
        words == [
          "silent", "stopping", "silent", "silent", "lost", "silent", "back", "stop", "silent",
          "refused", "silent",
        ])
      let seen = try await events(connection)
      #expect(seen == ["start", "stopping", "lost", "back", "stop"])
    }
  }

  @Test("a stop of a lost instance is told")
  func stopOfLost() async throws {
    try await with { _, connection in
      let instance = instance()
      _ = try await start(instance, on: connection)
      _ = try await reap(instance.id, on: connection)
      let outcome = try await stop(instance, on: connection)
      #expect(outcome.word == "stop")
    }
  }

  @Test("a stop whose start may not have arrived announces nothing and keeps a late start out")
  func lateStart() async throws {
    try await with { _, connection in
      let instance = instance()
      let stopped = try await stop(instance, on: connection)
      let late = try await start(instance, on: connection)
      #expect(stopped.word == "silent" && late.word == "refused")
      let seen = try await events(connection)
      let snapshot = try await Snapshot.read(keys: keys, on: connection)
      #expect(seen.isEmpty && snapshot.instances.isEmpty)
    }
  }

  @Test("who was announced and forgotten by Redis is back, or stops")
  func forgottenByRedis() async throws {
    try await with { server, connection in
      var (one, two) = (instance("one"), instance("two"))
      one.started = try await start(one, on: connection).started
      two.started = try await start(two, on: connection).started
      try await server.command("FLUSHALL")
      let back = try await start(one, on: connection)
      #expect(back.word == "back" && back.started == one.started && back.position.seq == 1)
      let stopped = try await stop(two, on: connection)
      #expect(stopped.word == "stop" && stopped.position.seq == 2)
    }
  }

  @Test("a reap does nothing when the lease moved, the time is over, or the lease still runs")
  func reapConditions() async throws {
    try await with { _, connection in
      let instance = instance()
      let begun = try await start(instance, on: connection)
      let end = begun.now + 15_000
      for (seen, latest, reason) in [
        (end + 1, Int64.max / 2, "connection"), (end, begun.now - 1, "connection"),
        (end, Int64.max / 2, "lease"),
      ] {
        let outcome = try await transitions.reap(
          LeaseObserver.Lost(id: instance.id, end: seen), latest: latest, reason: reason,
          on: connection)
        #expect(outcome.word == "silent")
      }
      let over = begun.now - 5
      _ = try await connection.send(RedisCommand("ZADD", keys.leases, "\(over)", instance.id))
      let reaped = try await reap(instance.id, on: connection, reason: "lease")
      #expect(reaped == "lost")
    }
  }

  @Test("forget removes an instance and says so")
  func forget() async throws {
    try await with { _, connection in
      let instance = instance()
      _ = try await start(instance, on: connection)
      let first = try await transitions.forget(instance.id, on: connection)
      let second = try await transitions.forget(instance.id, on: connection)
      #expect(first && !second)
      let seen = try await events(connection)
      let snapshot = try await Snapshot.read(keys: keys, on: connection)
      #expect(seen == ["start", "forgotten"] && snapshot.instances.isEmpty)
    }
  }

  @Test("another channel than the bus has is refused")
  func channel() async throws {
    try await with { _, connection in
      _ = try await start(instance(), on: connection, channel: "mine")
      let other = try await start(instance(), on: connection, channel: "other")
      let any = try await start(instance(), on: connection)
      #expect(other.word == "channel" && other.channel == "mine")
      #expect(any.word == "start" && any.channel == "mine")
    }
  }

  @Test("a lost bus is born with a later epoch, and ids of the stream go on rising")
  func rebirth() async throws {
    try await with { server, connection in
      var instance = instance()
      let first = try await start(instance, on: connection)
      instance.started = first.started
      try await server.command("DEL", keys.bus)
      let again = try await start(instance, on: connection)
      #expect(again.word == "silent" && again.position.seq == 0)
      #expect(again.position.epoch > first.position.epoch)
      let next = try await stop(instance, on: connection)
      #expect(next.position.seq == 1)
    }
  }

  @Test("lost leases are given anew to all who are recorded as present")
  func lostLeases() async throws {
    try await with { server, connection in
      let (one, two, gone) = (instance("one"), instance("two"), instance("gone"))
      for instance in [one, two, gone] { _ = try await start(instance, on: connection) }
      _ = try await stop(gone, on: connection)
      try await server.command("DEL", keys.leases)
      _ = try await start(one, on: connection)
      let members = try await connection.send(RedisCommand("ZRANGE", keys.leases, "0", "-1"))
      #expect(Set(members.elements.compactMap(\.string)) == [one.id, two.id])
    }
  }

  @Test("who ended over an hour ago is pruned")
  func pruning() async throws {
    try await with { server, connection in
      let (old, new) = (instance("old"), instance("new"))
      for instance in [old, new] { _ = try await start(instance, on: connection) }
      _ = try await stop(old, on: connection)
      try await server.command("ZADD", keys.ended, "1000", old.id)
      _ = try await stop(new, on: connection)
      let snapshot = try await Snapshot.read(keys: keys, on: connection)
      #expect(snapshot.instances.map(\.instance.name) == ["new"])
      let ended = try await connection.send(RedisCommand("ZRANGE", keys.ended, "0", "-1"))
      #expect(ended.elements.compactMap(\.string) == [new.id])
    }
  }

  @Test("what an instance used last is told with its end, and goes with its record")
  func usage() async throws {
    try await with { server, connection in
      let (lost, stopped, forgotten) = (instance("lost"), instance("stopped"), instance("gone"))
      for instance in [lost, stopped, forgotten] {
        _ = try await start(instance, on: connection)
        try await server.command(
          "HSET", keys.usage, instance.id, #"{"memory":5000,"limit":9000,"cpu":0.5}"#)
      }
      #expect(try await reap(lost.id, on: connection) == "lost")
      var usage = InstanceUsage()
      usage.memory = 7
      _ = try await transitions.stop(
        stopped, elapsed: .zero, stop: InstanceStop(reason: "oom"), usage: usage, on: connection)
      #expect(try await transitions.forget(forgotten.id, on: connection))
      var memories: [EventMemory] = []
      try await History(keys: keys).read(on: connection) { page in
        memories += page.compactMap { Event.read($0.bytes) }.filter {
          [.lost, .stop].contains($0.type)
        }.map(\.memory)
      }
      #expect(memories == [EventMemory(used: 5000, limit: 9000), EventMemory(used: 7)])
      #expect(try await InstanceUsage.read(keys: keys, on: connection).keys.sorted() == [lost.id])
      // A key of another type, or a text that is no usage, is none, and keeps nothing from going on.
      try await server.command("HSET", keys.usage, lost.id, #"{"memory":12345678901234567890"#)
      #expect(try await InstanceUsage.read(keys: keys, on: connection).isEmpty)
      try await server.command("DEL", keys.usage)
      try await server.command("SET", keys.usage, "mine")
      #expect(try await InstanceUsage.read(keys: keys, on: connection).isEmpty)
      let last = instance("last")
      _ = try await start(last, on: connection)
      #expect(try await reap(last.id, on: connection) == "lost")
    }
  }

  @Test("a key of another type is an error that changes nothing", arguments: 0..<5)
  func wrongType(index: Int) async throws {
    try await with { server, connection in
      let key = keys.transition[index]
      try await server.command("SET", key, "mine")
      let error = await #expect(throws: RedisError.self) {
        try await start(instance(), on: connection)
      }
      #expect(error?.kind == .configuration)
      let size = try await connection.send(RedisCommand("DBSIZE")).integer
      #expect(size == 1)
    }
  }

  @Test(
    "a missing permission is an error that changes nothing",
    arguments: [
      "-xadd", "-hset", "-zadd", "-zrem", "-hdel", "-expire", "-publish", "-evalsha",
      "resetchannels",
      "resetkeys",
    ])
  func permissions(rule: String) async throws {
    try await with { server, _ in
      try await server.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "&*", "+@all", rule)
      var connector = server.connector
      connector.endpoint.username = "some"
      connector.endpoint.password = "pw"
      try await connector.withConnection { connection in
        let error = await #expect(throws: RedisError.self) {
          try await start(instance(), on: connection)
        }
        #expect(error?.kind == .refused, "\(String(describing: error))")
      }
      let size = try await server.command("DBSIZE")
      #expect(size == .integer(0))
    }
  }

  @Test("a full server is an error that changes and publishes nothing")
  func full() async throws {
    try await with { server, connection in
      try await server.connector.withSubscription(to: ["instances"]) { subscription in
        try await server.command("CONFIG", "SET", "maxmemory", "1")
        let error = await #expect(throws: RedisError.self) {
          try await start(instance(), on: connection)
        }
        #expect(error?.kind == .unavailable)
        subscription.ping()
        guard case .messages(let pushes) = await subscription.next() else {
          Issue.record("no pong")
          return
        }
        #expect(Array(pushes) == [.pong])
      }
      let size = try await connection.send(RedisCommand("DBSIZE")).integer
      #expect(size == 0)
    }
  }

  @Test("an event of more than 8 KiB is refused by the script")
  func tooLarge() async throws {
    try await with { _, connection in
      let large = instance(String(repeating: "x", count: 8200))
      await #expect(throws: RedisError.self) { try await start(large, on: connection) }
      let size = try await connection.send(RedisCommand("DBSIZE")).integer
      #expect(size == 0)
    }
  }

  @Test("the history is trimmed, approximately, to what the bus keeps")
  func history() async throws {
    try await with { _, connection in
      for number in 0..<600 {
        _ = try await transitions.start(
          instance("w\(number)"), elapsed: .zero, channel: nil, history: 100, on: connection)
      }
      let length = try await connection.send(RedisCommand("XLEN", keys.events)).integer ?? 0
      #expect((100..<300).contains(length))
    }
  }
}
