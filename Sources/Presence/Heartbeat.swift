import Redis

/// The plain commands by which an instance says that it is there, and what their replies tell.
struct Heartbeat: Sendable {
  private let keys: Keys
  private let id: String
  private let lease: Int64
  /// The server's clock; nil before the first answer.
  private(set) var clock: ServerClock?
  /// `GT` (Redis 6.2) lets a late command of a dead connection shorten nothing.
  private var knowsGreaterThan = true
  /// The server's clock went back, so the lease has to be set anew.
  private var mustReset = false
  private var end: Int64 = 0

  init(keys: Keys, id: String, lease: Int64) {
    self.keys = keys
    self.id = id
    self.lease = lease
  }

  /// What the server said of its time when this instance was registered.
  mutating func learn(_ time: Int64, asked: ContinuousClock.Instant) {
    clock = ServerClock(time: time, asked: asked)
  }

  /// The commands of one beat, written together; nil before the server's time is known.
  mutating func commands() -> [RedisCommand]? {
    guard let clock else { return nil }
    end = mustReset ? clock.now + lease : max(end, clock.now + lease)
    let options = knowsGreaterThan && !mustReset ? ["XX", "GT", "CH"] : ["XX", "CH"]
    mustReset = false
    return [
      RedisCommand("TIME"),
      RedisCommand(["ZADD", keys.leases] + options + ["\(end)", id]),
      RedisCommand("HEXISTS", keys.instances, id),
    ]
  }

  enum Finding: Sendable {
    case present
    /// Redis forgot the instance, or somebody declared it lost.
    case forgotten
    /// The lease was set by a clock that has changed; beat once more.
    case stale
  }

  /// Reads the replies to `commands()`.
  ///
  /// - Throws: `RedisError` for an error reply.
  mutating func read(_ replies: [RedisValue], asked: ContinuousClock.Instant) throws -> Finding {
    if case .error(let text)? = replies.at(1), text.contains("syntax error"), knowsGreaterThan {
      knowsGreaterThan = false
      return .stale
    }
    for reply in replies { try reply.get() }
    guard let time = replies.first.flatMap(ServerClock.milliseconds) else { return .stale }
    let guess = clock?.now ?? time
    clock = ServerClock(time: time, asked: asked)
    if abs(guess - time) > lease / 3 {
      mustReset = true
      return .stale
    }
    let isThere = replies.at(2)?.integer == 1 && replies.at(1)?.integer == 1
    return isThere ? .present : .forgotten
  }
}
