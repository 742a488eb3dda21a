import PaasbusRedis

/// The plain commands by which an instance says that it is there, and what their replies mean.
struct Heartbeat: Sendable {
  private let keys: Keys
  private let id: String
  private let lease: Int64
  private(set) var clock: ServerClock
  /// Whether the server knows `GT` (Redis 6.2), with which a late command of a dead connection
  /// cannot shorten the lease.
  private var knowsGreaterThan = true
  /// Whether the lease has to be set even if its end becomes earlier, since the server's clock was
  /// moved.
  private var mustReset = false
  private var end: Int64 = 0

  /// - Parameter clock: the server's clock, as of the answer to the registration.
  init(keys: Keys, id: String, lease: Int64, clock: ServerClock) {
    self.keys = keys
    self.id = id
    self.lease = lease
    self.clock = clock
  }

  /// Takes the server's clock from an answer to another command than a beat.
  mutating func learn(_ clock: ServerClock) { self.clock = clock }

  /// The commands of one beat, written together.
  mutating func commands(at now: ContinuousClock.Instant = .now) -> [RedisCommand] {
    let fresh = clock.time(at: now) + lease
    end = mustReset ? fresh : max(end, fresh)
    let options = knowsGreaterThan && !mustReset ? ["XX", "GT", "CH"] : ["XX", "CH"]
    mustReset = false
    return [
      RedisCommand("TIME"),
      RedisCommand(["ZADD", keys.leases] + options + ["\(end)", id]),
      RedisCommand("HEXISTS", keys.instances, id),
      RedisCommand("EXISTS", keys.bus),
    ]
  }

  enum Finding: Sendable {
    case present
    /// Redis forgot the instance or the bus, or another process declared the instance lost.
    case forgotten
    /// The lease was set by a clock that was moved since, or it was set long ago; the beat has to
    /// be sent again.
    case stale
  }

  /// Reads the replies to `commands()`.
  ///
  /// - Throws: `RedisError` for an error reply.
  mutating func read(
    _ replies: [RedisValue], asked: ContinuousClock.Instant,
    answered: ContinuousClock.Instant = .now
  ) throws -> Finding {
    // Older servers read `GT` as a score.
    if case .error(let text)? = replies.at(1), knowsGreaterThan,
      text.contains("syntax error") || text.contains("not a valid float")
    {
      knowsGreaterThan = false
      return .stale
    }
    for reply in replies { try reply.get() }
    guard let time = try? replies.first?.serverTime else { return .stale }
    let before = clock
    let now = ServerClock(time: time, asked: asked, answered: answered)
    clock = now
    if before.wasMoved(before: now, tolerance: lease / 3) {
      mustReset = true
      return .stale
    }
    // The beat took long, for example since the server was frozen: more than half of the lease that
    // it set is used up.
    if end < time + lease / 2 { return .stale }
    return replies.dropFirst().allSatisfy { $0.integer == 1 } ? .present : .forgotten
  }
}
