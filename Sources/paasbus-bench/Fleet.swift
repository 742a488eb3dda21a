import Foundation
import PaasbusRedis
import Presence
import TestSupport

/// Many announcers, and many watchers.
extension Bench {
  private static let keys = Keys(app: "default")

  /// What the server has used of a processor, in seconds, and what its commands took of it.
  private func serverCost() async throws -> (processor: Double, commands: [String: Double]) {
    let text = try await server.command("INFO", "all").string ?? ""
    func value(_ name: String) -> Double {
      let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("\(name):") }
      return line.flatMap { Double($0.dropFirst(name.count + 1)) } ?? 0
    }
    var commands: [String: Double] = [:]
    for line in text.split(whereSeparator: \.isNewline) where line.hasPrefix("cmdstat_") {
      let name = line.dropFirst(8).prefix { $0 != ":" }
      let cost = line.split(separator: ",").first { $0.hasPrefix("usec=") }
      commands[String(name)] = cost.flatMap { Double($0.dropFirst(5)) } ?? 0
    }
    return (value("used_cpu_user") + value("used_cpu_sys"), commands)
  }

  /// How fast a fleet joins, and how ten watchers see a roll-out of all of it: the old ones stop, and as
  /// many new ones start.
  private func rollOut(
    _ name: String, _ count: Int, start: (_ release: String) async throws -> Void,
    stop: () async throws -> Void
  ) async throws -> [Row] {
    try await server.command("FLUSHALL")
    let audience = Audience(count: 10, connector: link.connector)
    try await audience.begin()
    var times: [Duration] = []
    let before = try await serverCost()
    for release in ["v1", nil, "v2"] {
      let begun = ContinuousClock.now
      if let release { try await start(release) } else { try await stop() }
      try await audience.await(events: (times.count + 1) * count)
      times.append(.now - begun)
    }
    let after = try await serverCost()
    let missed = audience.missed(of: 3 * count)
    try await stop()
    await audience.end()
    let total = times.reduce(.zero, +) / .seconds(1)
    return [
      Row(
        what: "\(name): joins", own: Samples("a second", [Double(count) / (times[0] / .seconds(1))])
      ),
      Row(
        what: "\(name): all stop and all start, seen by 10 watchers",
        own: Samples("s", [(times[1] + times[2]) / .seconds(1)])),
      Row(
        what: "\(name): Redis' CPU meanwhile",
        own: Samples("%", [(after.processor - before.processor) * 100 / total])),
      Row(what: "\(name): events missed", own: Samples("", [Double(missed)])),
    ]
  }

  private static func instance(_ number: Int, release: String) -> Instance {
    var instance = Instance(app: "default", name: "w\(number)", lease: .seconds(15))
    instance.release = release
    return instance
  }

  /// Real announcers, with a connection each.
  func announcers(_ count: Int) async throws -> [Row] {
    var fleet = AnnouncerFleet()
    return try await rollOut("fleet of \(count) announcers", count) { release in
      await start(&fleet, count, release: release)
    } stop: {
      try await fleet.end()
      fleet = AnnouncerFleet()
    }
  }

  /// Returns once all are announced, or about to be.
  func start(_ fleet: inout AnnouncerFleet, _ count: Int, release: String = "v1") async {
    var options = Announcer.Options()
    options.history = 1_000_000
    // So many at once as a server's queue of new connections holds.
    await fleet.start(
      (0..<count).map { Self.instance($0, release: release) }, connector: link.connector,
      options: options, atOnce: 200)
  }

  /// More than there can be connections: a hundred instances and more share one.
  func crowd(_ count: Int) async throws -> [Row] {
    let transitions = Transitions(keys: Self.keys)
    var fleet: [Instance] = []
    return try await rollOut("fleet of \(count) on 100 connections", count) { release in
      fleet = (0..<count).map { Self.instance($0, release: release) }
      try await onLanes(fleet) { instance, connection in
        _ = try await transitions.start(
          instance, elapsed: .zero, channel: nil, history: 1_000_000, on: connection)
      }
    } stop: {
      try await onLanes(fleet) { instance, connection in
        _ = try await transitions.stop(
          instance, elapsed: .zero, stop: InstanceStop(reason: "SIGTERM"), on: connection)
      }
    }
  }

  private static let lanes = 100

  /// Does something for each instance, on a hundred connections at once.
  private func onLanes(
    _ instances: [Instance],
    _ body: @escaping @Sendable (Instance, RedisConnection) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<Self.lanes {
        let own = stride(from: lane, to: instances.count, by: Self.lanes).map { instances[$0] }
        group.addTask {
          try await link.connector.withConnection { connection in
            for instance in own { try await body(instance, connection) }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// The beats of so many instances at the default lease, on a hundred connections, beside as many
  /// commands that do nothing.
  func beats(_ count: Int) async throws -> [Row] {
    try await fill(count)
    let seconds = 10.0
    let ids = (1...count).map { String(format: "01KE8H0A00%016d", $0) }
    let beat: @Sendable (Int) -> [RedisCommand] = { number in
      let id = ids[number % count]
      return [
        RedisCommand("TIME"),
        RedisCommand(
          "ZADD", Self.keys.leases, "XX", "GT", "CH", "\(4_000_000_000_000 + number)", id),
        RedisCommand("HEXISTS", Self.keys.instances, id), RedisCommand("EXISTS", Self.keys.bus),
        // Whoever beats also looks for others that do not.
        RedisCommand(
          "ZRANGEBYSCORE", Self.keys.leases, "-inf", "1", "WITHSCORES", "LIMIT", "0", "1000"),
      ]
    }
    let own = try await load(rate: Double(count) / 5, seconds, beat)
    // As if what each uses had changed with each beat.
    let telling = try await load(rate: Double(count) / 5, seconds) { number in
      let usage = #"{"memory":\(60_000_000 + number),"limit":67108864,"cpu":0.25,"processes":3}"#
      return beat(number) + [RedisCommand("HSET", Self.keys.usage, ids[number % count], usage)]
    }
    let peer = try await load(rate: Double(count) / 5, seconds) { _ in
      Array(repeating: RedisCommand("ECHO", "x"), count: 5)
    }
    let name = "beats of \(count) instances"
    return [
      Row(
        what: "\(name): Redis' CPU", own: Samples("%", [own.processor * 100 / seconds]),
        peer: ("as many ECHO", Samples("%", [peer.processor * 100 / seconds]))),
      Row(
        what: "\(name): commandstats", own: Samples("us a beat", [own.perBeat]),
        peer: ("as many ECHO", Samples("us", [peer.perBeat]))),
      Row(
        what: "\(name), each telling what it uses: Redis' CPU",
        own: Samples("%", [telling.processor * 100 / seconds]),
        peer: ("without", Samples("%", [own.processor * 100 / seconds]))),
      Row(
        what: "\(name), each telling what it uses: commandstats",
        own: Samples("us a beat", [telling.perBeat]),
        peer: ("without", Samples("us a beat", [own.perBeat]))),
      Row(what: "\(name): answered", own: own.answers, peer: ("as many ECHO", peer.answers)),
      Row(
        what: "\(name): answered, 99th percentile",
        own: Samples("ms", [own.answers.percentile(0.99)]),
        peer: ("as many ECHO", Samples("ms", [peer.answers.percentile(0.99)]))),
    ]
  }

  private func load(
    rate: Double, _ seconds: Double, _ commands: @escaping @Sendable (Int) -> [RedisCommand]
  ) async throws -> (processor: Double, perBeat: Double, answers: Samples) {
    let lanes = Self.lanes
    let before = try await serverCost()
    var answers = Samples("ms")
    try await withThrowingTaskGroup(of: [Duration].self) { group in
      for lane in 0..<lanes {
        group.addTask {
          try await link.connector.withConnection { connection in
            let interval = Duration.seconds(Double(lanes) / rate)
            let begun = ContinuousClock.now + interval * (Double(lane) / Double(lanes))
            var times: [Duration] = []
            while ContinuousClock.now - begun < .seconds(seconds) {
              try await Task.sleep(until: begun + interval * times.count)
              let asked = ContinuousClock.now
              _ = try await connection.pipeline(commands(times.count * lanes + lane))
              times.append(.now - asked)
            }
            return times
          }
        }
      }
      for try await times in group {
        for time in times { answers.add(time) }
      }
    }
    let after = try await serverCost()
    let spent = ["time", "zadd", "hexists", "exists", "zrangebyscore", "hset", "echo"].reduce(0) {
      $0 + (after.commands[$1] ?? 0) - (before.commands[$1] ?? 0)
    }
    return (
      after.processor - before.processor, spent / Double(max(1, answers.values.count)), answers
    )
  }

  // MARK: Watchers

  /// How long an event takes to watchers of this process, and to a line of the real program among
  /// them.
  func fanout(_ count: Int) async throws -> [Row] {
    let events = 500
    try await fill(events)
    let audience = Audience(count: count, connector: link.connector)
    try await audience.begin()
    let printed = try await Child.stamps(
      [program, "watch", "--json", "--no-snapshot", "--app", "default"], environment: environment,
      lines: events
    ) {
      try await eventually("the program watches too") {
        try await server.command("PUBSUB", "NUMSUB", "instances").elements.at(1)?.integer ?? 0
          > count
      }
      try await publish(events, at: 100, to: audience)
      try await audience.await(events: events)
    }
    await audience.end()
    let name = "fanout to \(count) watchers at 100 events/s"
    let delays = audience.delays
    let real = audience.delays(printed: printed)
    return [
      Row(what: "\(name): publish → shown", own: delays),
      Row(
        what: "\(name): 99th percentile", own: Samples("ms", [delays.percentile(0.99)])),
      Row(what: "\(name): publish → printed by `watch --json`", own: real),
      Row(
        what: "\(name): 99th percentile", own: Samples("ms", [real.percentile(0.99)])),
    ]
  }

  /// Forgets one instance after the other, so many a second.
  private func publish(_ count: Int, at rate: Int, to audience: Audience) async throws {
    try await link.connector.withConnection { connection in
      let begun = ContinuousClock.now
      for number in 1...count {
        try await Task.sleep(until: begun + .milliseconds(1000 * number / rate))
        let id = String(format: "01KE8H0A00%016d", number)
        audience.published(id)
        _ = try await Transitions(keys: Self.keys).forget(id, on: connection)
      }
    }
  }
}
