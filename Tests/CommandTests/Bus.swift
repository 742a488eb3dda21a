import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

/// The bus `default` on a server, as tests fill and compare it.
struct Bus {
  let server: RedisServer
  let keys = Keys(app: "default")

  init(on server: RedisServer) { self.server = server }

  /// Publishes `count` events, the starts of as many instances that nobody beats for.
  ///
  /// - Parameter size: how many bytes more than it needs each has.
  func publish(_ count: Int, history: Int = 100_000, size: Int = 0) async throws {
    let transitions = Transitions(keys: keys)
    try await server.connector.withConnection { connection in
      for _ in 0..<count {
        var instance = Instance(app: "default", name: "w", lease: .seconds(300))
        if size > 0 { instance.meta = ["filler": String(repeating: "x", count: size)] }
        _ = try await transitions.start(
          instance, elapsed: .zero, channel: nil, history: history, on: connection)
      }
    }
  }

  var last: Int64 {
    get async throws { try await server.command("HGET", keys.bus, "seq").integer ?? 0 }
  }

  var position: Position? {
    get async throws {
      try await server.connector.withConnection { connection in
        try await BusState.read(keys: keys, on: connection).position
      }
    }
  }

  /// The events that the history holds, as they stand there.
  var history: [String] {
    get async throws {
      try await server.connector.withConnection { connection in
        var events: [String] = []
        try await History(keys: keys).read(on: connection) { page in
          events += page.map { String(decoding: $0.bytes, as: UTF8.self) }
        }
        return events
      }
    }
  }

  /// The instances that are up, by name.
  var present: [String: Instance] {
    get async throws {
      let snapshot = try await server.connector.withConnection { connection in
        try await Snapshot.read(keys: keys, on: connection)
      }
      let up = snapshot.instances.filter { $0.state == .up }.map(\.instance)
      return Dictionary(up.map { ($0.name, $0) }) { $1 }
    }
  }

  /// How much is left of the lease of each instance, by name.
  func leases(on connection: RedisConnection) async throws -> [String: Duration] {
    let snapshot = try await Snapshot.read(keys: keys, on: connection)
    return snapshot.instances.reduce(into: [:]) { leases, status in
      leases[status.instance.name] = status.leaseEnd.map { .milliseconds($0 - snapshot.now) }
    }
  }

  /// How often the server has carried out a command.
  func calls(_ command: String) async throws -> Int64 {
    try await server.connector.withConnection { try await calls(command, on: $0) }
  }

  private func calls(_ command: String, on connection: RedisConnection) async throws -> Int64 {
    let text = try await connection.send(RedisCommand("INFO", "commandstats")).string ?? ""
    // Before Redis 7, the parts of a command are counted together.
    let whole = command.split(separator: "|").first.map(String.init) ?? command
    for name in [command, whole] {
      let start = "cmdstat_\(name):calls="
      let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(start) }
      if let line { return Int64(line.dropFirst(start.count).prefix { $0.isNumber }) ?? 0 }
    }
    return 0
  }

  /// Waits until so many listen to the bus's channel.
  func awaitWatchers(_ count: Int) async throws {
    try await eventually("\(count) watch") {
      try await server.cli("PUBSUB", "NUMSUB", "instances") == "instances\n\(count)\n"
    }
  }

  /// Waits until a watcher has compared its position with the bus once more. It does so with a PING on the
  /// subscription, and sends the next one only when the last one's answer is there. One connection asks, since
  /// each new one begins with a PING too.
  func awaitComparison() async throws {
    try await server.connector.withConnection { connection in
      let before = try await calls("ping", on: connection)
      try await eventually("a comparison") {
        try await calls("ping", on: connection) > before + 1
      }
    }
  }

  /// Expects every event of the bus, once and in order.
  func expectAll(_ watch: ManagedProcess) async throws {
    let last = try await last
    try await eventually("event \(last) is shown", within: .seconds(60)) {
      watch.lines.last?.contains("\"seq\":\(last),") ?? false
    }
    #expect(watch.numbers == Array(1...last))
    #expect(!watch.objects.contains { $0["source"] == .string("watch") })
  }

  /// Announcers in this process, which shares two processors with other tests: so their beats are not the shortest.
  func startFleet(
    _ count: Int, named name: String = "w", lease: Duration = .seconds(6),
    connector: RedisConnector? = nil
  ) async -> AnnouncerFleet {
    var fleet = AnnouncerFleet()
    await fleet.start(
      (0..<count).map { Instance(app: "default", name: "\(name)\($0)", lease: lease) },
      connector: connector ?? server.connector)
    return fleet
  }
}

extension ManagedProcess {
  /// The numbers of the events that a watcher has shown, in order.
  var numbers: [Int64] {
    objects.compactMap { object in
      guard case .number(let seq)? = object["seq"], object["source"] != .string("watch") else {
        return nil
      }
      return seq
    }
  }
}
