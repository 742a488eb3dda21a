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
  private(set) var nextDue: ContinuousClock.Instant?
  /// Whether the server lets us write; a reader without permission reaps nothing.
  private(set) var isPermitted = true

  init(keys: Keys, ownID: String? = nil) {
    self.keys = keys
    transitions = Transitions(keys: keys)
    self.ownID = ownID
  }

  /// The command of a look.
  ///
  /// - Parameter before: leases that end before this server time (ms) are looked at.
  func lookCommand(before: Int64) -> RedisCommand {
    RedisCommand(
      "ZRANGEBYSCORE", keys.leases, "-inf", "\(before)", "WITHSCORES", "LIMIT", "0",
      "\(Self.mostAtOnce)")
  }

  mutating func startAnew() {
    observer.startAnew()
    nextDue = nil
  }

  /// Takes the reply to a look, and reaps.
  ///
  /// - Throws: `RedisError` where the connection failed.
  mutating func take(
    _ reply: RedisValue, asked: ContinuousClock.Instant, now: Int64,
    on connection: RedisConnection
  ) async throws {
    guard isPermitted else { return }
    let answered = ContinuousClock.now
    var ends = Snapshot.scores(try reply.get().elements)
    if let ownID { ends[ownID] = nil }
    let leases = try await leases(of: observer.unknown(ends), on: connection)
    let lost = observer.look(
      asked: asked, answered: answered, ends: ends, leases: leases, now: now)
    nextDue = observer.nextDue(at: answered, now: now)
    for (id, end) in lost.sorted(by: { $0.end < $1.end }) {
      do {
        _ = try await transitions.reap(
          id, leaseEnd: end, latest: now + Self.validity, reason: "lease", on: connection)
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
      guard let record = record.bytes?.drop(while: { $0 != 0x7B }) else { continue }
      leases[id] = WireInstance.decode(record)?.lease
    }
    return leases
  }
}
