import PaasbusRedis

/// What a watcher's look asks of the leases, together with the server's time.
struct LeaseQuestion: Sendable {
  enum Scope: Sendable, Hashable {
    /// The leases that end soon, and where this is asked for, those that end later than any lease can.
    case due(withLate: Bool)
    /// Every lease.
    case all
  }

  /// A look asks for at most this many leases of a kind, the earliest ends first.
  private static let maxLeases = 1000
  /// So much longer than three beats no lease lasts.
  private static let lateMargin = Duration.seconds(1)

  let scope: Scope
  /// Whether the server is also asked whether it still takes writes. While it does not, as when it is full, no
  /// instance can renew its lease, so that time does not count.
  let tries: Bool
  private let soon: Int64
  private let late: Int64

  /// - Parameters:
  ///   - now: about what the server's time is, in ms.
  ///   - beat: the longest beat on this bus.
  init(_ scope: Scope, tries: Bool, near now: Int64, beat: Duration) {
    self.scope = scope
    self.tries = tries
    // Far enough ahead that a lease has been observed for long enough by the time it ends.
    soon = now + (beat * 1.15 + .milliseconds(2500)).milliseconds
    late = now + (beat * 3.2 + Self.lateMargin).milliseconds
  }

  /// A write that changes nothing.
  static func trial(_ keys: Keys) -> RedisCommand {
    RedisCommand("ZADD", keys.leases, "XX", "0", "")
  }

  func commands(_ keys: Keys) -> [RedisCommand] {
    var commands = [RedisCommand("TIME")]
    if tries { commands.append(Self.trial(keys)) }
    func range(_ first: String, _ last: String) -> RedisCommand {
      RedisCommand(
        "ZRANGEBYSCORE", keys.leases, first, last, "WITHSCORES", "LIMIT", "0", "\(Self.maxLeases)")
    }
    switch scope {
    case .due(let withLate):
      commands.append(range("-inf", "\(soon)"))
      if withLate { commands.append(range("(\(late)", "+inf")) }
    case .all: commands.append(RedisCommand("ZRANGE", keys.leases, "0", "-1", "WITHSCORES"))
    }
    return commands
  }

  /// The leases among the replies, id → end in ms.
  func ends(_ replies: ArraySlice<RedisValue>) -> [String: Int64] {
    replies.dropFirst(tries ? 2 : 1).reduce(into: [:]) { ends, reply in
      ends.merge(Snapshot.scores(reply.elements)) { first, _ in first }
    }
  }

  /// The leases whose ends have to be observed.
  func observed(_ ends: [String: Int64]) -> [String: Int64] {
    guard scope == .all else { return ends }
    return ends.filter { isLate($0.value) || $0.value <= soon }
  }

  /// Whether an end is later than any lease can end.
  func isLate(_ end: Int64) -> Bool { end > late }
}
