import PaasbusRedis

/// The plain commands by which an instance says that it is there, and what their replies tell.
struct Heartbeat: Sendable {
  private let keys: Keys
  private let id: String
  private let lease: Int64
  private(set) var clock: ServerClock
  /// `GT` (Redis 6.2) lets a late command of a dead connection shorten nothing.
  private var knowsGreaterThan = true
  /// The server's clock went back, so the lease has to be set anew.
  private var mustReset = false
  private var end: Int64 = 0

  /// - Parameter clock: the server's, as the registration told it.
  init(keys: Keys, id: String, lease: Int64, clock: ServerClock) {
    self.keys = keys
    self.id = id
    self.lease = lease
    self.clock = clock
  }

  /// Takes the server's clock from another answer than to a beat.
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
    /// Redis forgot the instance or the bus, or somebody declared it lost.
    case forgotten
    /// The lease was set by a clock that has changed or long ago; beat once more.
    case stale
  }

  /// Reads the replies to `commands()`.
  ///
  /// - Throws: `RedisError` for an error reply.
  mutating func read(
    _ replies: [RedisValue], asked: ContinuousClock.Instant,
    answered: ContinuousClock.Instant = .now
  ) throws -> Finding {
    // Older servers take it for a score.
    if case .error(let text)? = replies.at(1), knowsGreaterThan,
      text.contains("syntax error") || text.contains("not a valid float")
    {
      knowsGreaterThan = false
      return .stale
    }
    for reply in replies { try reply.get() }
    guard let time = replies.first.flatMap(ServerClock.milliseconds) else { return .stale }
    let before = clock
    let now = ServerClock(time: time, asked: asked, answered: answered)
    clock = now
    if before.wasMoved(before: now, tolerance: lease / 3) {
      mustReset = true
      return .stale
    }
    // It was long on its way, as through a frozen server: the lease that it set is already used up.
    if end < time + lease / 2 { return .stale }
    return replies.dropFirst().allSatisfy { $0.integer == 1 } ? .present : .forgotten
  }
}
