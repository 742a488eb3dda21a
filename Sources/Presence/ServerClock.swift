import Redis

/// The Redis server's clock, as far as it is known here: its last answer to `TIME`, carried on by
/// this machine's monotonic clock. Two machines' clocks are never compared.
public struct ServerClock: Sendable {
  private var base: Int64
  private var instant: ContinuousClock.Instant

  /// - Parameters:
  ///   - time: the server's time in ms since 1970.
  ///   - instant: when the question was sent, so that the estimate is never behind.
  init(time: Int64, asked instant: ContinuousClock.Instant) {
    base = time
    self.instant = instant
  }

  /// The server's time now, in ms since 1970.
  public var now: Int64 { base + (ContinuousClock.now - instant).milliseconds }

  /// The reply to `TIME` in ms.
  static func milliseconds(_ reply: RedisValue) -> Int64? {
    guard let seconds = reply.elements.first?.integer,
      let microseconds = reply.elements.at(1)?.integer,
      (0...32_503_680_000).contains(seconds), (0..<1_000_000).contains(microseconds)
    else { return nil }
    return seconds * 1000 + microseconds / 1000
  }
}
