import Redis

/// Looks at the leases that end soon and declares lost whose end has come; many may look, and the
/// script lets one of them say it.
struct Reaper: Sendable {
  /// At most this many are looked at together; those that ended first come first.
  private static let mostAtOnce = 1000
  /// How long after a look its reap may still be carried out by the server.
  private static let validity: Int64 = 1000

  private let keys: Keys
  private let transitions: Transitions
  /// Never reaped: an announcer does not declare itself dead.
  private let ownID: String?
  private var observer = LeaseObserver()
  private var probe = ConnectionProbe()
  private(set) var nextDue: ContinuousClock.Instant?
  /// Whether the server lets us write; a reader without permission reaps nothing.
  private(set) var isPermitted = true

  init(keys: Keys, ownID: String? = nil) {
    self.keys = keys
    transitions = Transitions(keys: keys)
    self.ownID = ownID
  }

  /// A write that changes nothing. While it fails, as on a full server, nobody can renew a lease,
  /// so the time counts for nobody.
  var writeCommand: RedisCommand { RedisCommand("ZADD", keys.leases, "XX", "0", "") }

  /// Takes the reply to the write; false where it failed and a look now would mean nothing.
  mutating func takeWrite(_ reply: RedisValue) -> Bool {
    guard case .error(let text) = reply else { return true }
    if RedisError.server(text).kind == .refused { isPermitted = false }
    observer.startAnew()
    probe.startAnew()
    nextDue = nil
    return false
  }

  /// The command of a look.
  ///
  /// - Parameter before: leases that end before this server time (ms) are looked at.
  func lookCommand(before: Int64) -> RedisCommand {
    RedisCommand(
      "ZRANGEBYSCORE", keys.leases, "-inf", "\(before)", "WITHSCORES", "LIMIT", "0",
      "\(Self.mostAtOnce)")
  }

  /// Takes the reply to a look, and reaps.
  ///
  /// - Throws: `RedisError` where the connection failed.
  mutating func take(
    _ reply: RedisValue, asked: ContinuousClock.Instant, now: Int64,
    on connection: RedisConnection
  ) async throws {
    if case .error(let text) = reply, RedisError.server(text).kind == .refused {
      isPermitted = false
    }
    guard isPermitted else { return }
    var ends = Snapshot.scores(try reply.get().elements)
    if let ownID { ends[ownID] = nil }
    let leases = try await leases(of: observer.unknown(ends), on: connection)
    let answered = ContinuousClock.now
    let lost = observer.look(
      asked: asked, answered: answered, ends: ends, leases: leases, now: now)
    nextDue = observer.nextDue(at: answered, now: now)
    try await reap(lost, reason: "lease", now: now, on: connection)
  }

  /// When to take the look that confirms a loss; nil where none is suspected.
  var confirmation: ContinuousClock.Instant? { observer.confirmation }

  /// When to look at the server's connections again; nil where that is of no use.
  var nextProbe: ContinuousClock.Instant? { probe.isOn && isPermitted ? probe.nextLook : nil }

  /// Looks at the server's connections, and reaps whose is gone.
  ///
  /// - Throws: `RedisError` where the connection failed.
  mutating func lookAtConnections(on connection: RedisConnection) async throws {
    let asked = ContinuousClock.now
    let reply = try await connection.pipeline([RedisCommand("CLIENT", "LIST")]).first
    guard let text = reply?.string else { return try takeRefusal(reply ?? .null) }
    let missing = probe.list(text, at: asked)
    guard !missing.isEmpty else { return }
    let replies = try await connection.pipeline(
      [RedisCommand("TIME")] + missing.map { RedisCommand("ZSCORE", keys.leases, $0) })
    guard ContinuousClock.now - asked <= LeaseObserver.slowestAnswer else {
      return probe.startAnew()
    }
    guard let now = replies.first.flatMap(ServerClock.milliseconds) else {
      return probe.startAnew()
    }
    let ends = zip(missing, replies.dropFirst()).map { id, score in
      (id: id, end: score.number.flatMap { abs($0) < 9e15 ? Int64($0) : nil })
    }
    try await reap(
      probe.look(ends, at: asked), reason: "connection", now: now, on: connection)
  }

  /// Where listing clients is refused for good, nobody is looked for any more.
  private mutating func takeRefusal(_ reply: RedisValue) throws {
    do {
      try reply.get()
    } catch let error as RedisError where error.isTransient {
      throw error
    } catch {}
    probe.turnOff()
  }

  private mutating func reap(
    _ lost: [(id: String, end: Int64)], reason: String, now: Int64,
    on connection: RedisConnection
  ) async throws {
    for (id, end) in lost.sorted(by: { $0.end < $1.end }) {
      do {
        _ = try await transitions.reap(
          id, leaseEnd: end, latest: now + Self.validity, reason: reason, on: connection)
      } catch let error as RedisError where error.kind == .refused {
        isPermitted = false
        return
      }
    }
  }

  private func leases(
    of ids: [String], on connection: RedisConnection
  ) async throws -> [String: Int64] {
    guard !ids.isEmpty else { return [:] }
    let reply = try await connection.send(RedisCommand(["HMGET", keys.instances] + ids))
    var leases: [String: Int64] = [:]
    for (id, record) in zip(ids, reply.elements) {
      guard let stored = record.bytes, let start = stored.firstIndex(of: 0x7B) else { continue }
      leases[id] = Instance.decode(stored, from: start)?.instance.lease
    }
    return leases
  }
}
