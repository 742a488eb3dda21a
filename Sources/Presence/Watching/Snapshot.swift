import PaasbusRedis

/// An instance as it is recorded.
public struct InstanceStatus: Sendable, Hashable {
  /// The state of an instance.
  public enum State: String, Sendable, CaseIterable {
    case up, stopping, overdue, lost, stopped
  }

  /// The instance as it is recorded.
  public internal(set) var instance: Instance
  /// As recorded, or `overdue` where the lease has run out and no process has declared the instance
  /// lost yet.
  public var state: State
  /// The number of its last event.
  public var seq: Int64
  /// When the lease ends, in ms by the server's clock; nil for an instance without a lease.
  public var leaseEnd: Int64?
  /// What it uses, where that was read.
  public var usage: InstanceUsage?

  /// Whether the instance is present, that is, it has neither stopped nor been declared lost.
  public var isPresent: Bool { state == .up || state == .stopping || state == .overdue }

  /// The state at a moment of the server's clock (ms), judged by the end of the lease where that is
  /// known.
  public func state(at moment: Int64) -> State {
    guard isPresent, let leaseEnd else { return state }
    if leaseEnd < moment { return .overdue }
    return state == .overdue ? .up : state
  }

  /// When it last said that it is there, in ms by the server's clock.
  public var lastBeat: Int64? { leaseEnd.map { $0 - instance.lease } }
}

extension InstanceStatus {
  /// The record with its state.
  package func addMembers(to text: inout JSONText) {
    text.member("state", state.rawValue)
    text.member("seq", seq)
    instance.addMembers(to: &text)
    if let usage { text.member("usage", json: usage.json) }
  }
}

/// The whole bus at one moment.
public struct Snapshot: Sendable, Hashable {
  /// The server's time, in ms since 1970.
  public var now: Int64
  /// nil where no instance has ever announced.
  public var position: Position?
  /// The channel of the bus; nil where no instance has ever announced.
  public var channel: String?
  /// By `started`, then name.
  public var instances: [InstanceStatus]
  /// The last entries of the history, oldest first; as many as were asked for.
  package var tail: [HistoryEntry]
  /// id → when an instance ended, in ms by the server's clock; empty unless that was asked for.
  package var ends: [String: Int64] = [:]

  /// Reads it in one transaction, so that its position and its instances belong together.
  ///
  /// - Parameter tailLength: how many of the last entries of the history to read as well.
  /// - Throws: `RedisError`.
  package static func read(
    keys: Keys, tailLength: Int = 0, includesEnds: Bool = false, on connection: RedisConnection
  ) async throws -> Snapshot {
    var commands = [
      RedisCommand("TIME"),
      BusState.command(keys),
      RedisCommand("HGETALL", keys.instances),
      RedisCommand("ZRANGE", keys.leases, "0", "-1", "WITHSCORES"),
    ]
    if tailLength > 0 {
      commands.append(RedisCommand("XREVRANGE", keys.events, "+", "-", "COUNT", "\(tailLength)"))
    }
    if includesEnds {
      commands.append(RedisCommand("ZRANGE", keys.ended, "0", "-1", "WITHSCORES"))
    }
    let replies = try await connection.transaction(commands)
    let now = try (replies.first ?? .null).serverTime
    let bus = try BusState(replies.at(1))
    let ends = scores(try (replies.at(3) ?? .null).elements(to: "ZRANGE"))
    var instances: [InstanceStatus] = []
    let records = try (replies.at(2) ?? .null).elements(to: "HGETALL")
    instances.reserveCapacity(records.count / 2)
    for index in stride(from: 0, to: records.count - 1, by: 2) {
      guard let record = records[index + 1].bytes else { continue }
      if let status = status(record, ends, now: now) { instances.append(status) }
    }
    // The indices are sorted instead of the instances, since instances are large and sorting moves
    // its elements often.
    // Names only where they decide, as each would be retained for the comparison.
    let starts = instances.map { $0.instance.started ?? 0 }
    let order = instances.indices.sorted { one, other in
      guard starts[one] == starts[other] else { return starts[one] < starts[other] }
      return instances[one].instance.name < instances[other].instance.name
    }
    let tail = tailLength > 0 ? try (replies.at(4) ?? .null).elements(to: "XREVRANGE") : []
    let ended = includesEnds ? try (replies.last ?? .null).elements(to: "ZRANGE") : []
    return Snapshot(
      now: now, position: bus.position, channel: bus.channel,
      instances: order.map { instances[$0] },
      tail: tail.compactMap(HistoryEntry.init).reversed(), ends: scores(ended))
  }

  /// Reads `STATE SEQ RECORD`; nil for what our scripts did not write, and for the mark of a start
  /// that never happened (number 0).
  private static func status(
    _ stored: ArraySlice<UInt8>, _ leaseEnds: [String: Int64], now: Int64
  ) -> InstanceStatus? {
    guard let first = stored.firstIndex(of: 0x20),
      let second = stored[(first + 1)...].firstIndex(of: 0x20),
      var state = InstanceStatus.State(
        rawValue: String(decoding: stored[..<first], as: UTF8.self)),
      let seq = stored[(first + 1)..<second].wholeNumber, seq > 0,
      let instance = Instance.decode(stored[(second + 1)...])
    else { return nil }
    let leaseEnd = leaseEnds[instance.id]
    if state == .up || state == .stopping, (leaseEnd ?? 0) < now { state = .overdue }
    return InstanceStatus(instance: instance, state: state, seq: seq, leaseEnd: leaseEnd)
  }

  /// Reads members with their scores.
  static func scores(_ flat: [RedisValue]) -> [String: Int64] {
    var scores = [String: Int64](minimumCapacity: flat.count / 2)
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      guard let member = flat[index].string, let score = time(flat[index + 1]) else { continue }
      scores[member] = score
    }
    return scores
  }

  /// Reads a score in ms; nil for a value that is not a time and would make arithmetic overflow.
  static func time(_ score: RedisValue) -> Int64? {
    if let whole = score.integer { return (-maxTime...maxTime).contains(whole) ? whole : nil }
    return score.number.flatMap { abs($0) < Double(maxTime) ? Int64($0) : nil }
  }

  private static let maxTime: Int64 = 9_000_000_000_000_000
}

/// What the bus's hash says.
package struct BusState: Sendable {
  /// The last event; nil where no instance has ever announced.
  package var position: Position?
  package var channel: String?

  /// - Parameter reply: the reply to ``command(_:)``.
  /// - Throws: `RedisError` where it is not such a reply.
  init(_ reply: RedisValue?) throws {
    let fields = try (reply ?? .null).elements(to: "HMGET", count: 3)
    // Our scripts never write values outside of these ranges, and such values would make arithmetic
    // overflow later.
    if let epoch = fields.first?.integer, let seq = fields.at(1)?.integer, epoch > 0,
      (0...Int64.max / 2).contains(seq)
    {
      position = Position(epoch: epoch, seq: seq)
    }
    channel = fields.at(2)?.string
  }

  static func command(_ keys: Keys) -> RedisCommand {
    RedisCommand("HMGET", keys.bus, "epoch", "seq", "channel")
  }

  /// - Throws: `RedisError`.
  package static func read(keys: Keys, on connection: RedisConnection) async throws -> BusState {
    try BusState(try await connection.send(command(keys)))
  }
}

/// The leases of a bus at one moment.
package struct Leases: Sendable {
  /// id → the end of the lease in ms by the server's clock; only of instances that are up or
  /// stopping.
  package var ends: [String: Int64]
  /// The server's clock at that moment.
  package var clock: ServerClock
  /// id → what the instance uses.
  package var usages: [String: InstanceUsage] = [:]

  /// - Throws: `RedisError`.
  package static func read(keys: Keys, on connection: RedisConnection) async throws -> Leases {
    let clock = try await ServerClock.read(on: connection)
    let reply = try await connection.send(
      RedisCommand("ZRANGE", keys.leases, "0", "-1", "WITHSCORES"))
    let usages = try await InstanceUsage.read(keys: keys, on: connection)
    return Leases(
      ends: Snapshot.scores(try reply.elements(to: "ZRANGE")), clock: clock, usages: usages)
  }
}
