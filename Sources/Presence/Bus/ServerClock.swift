import PaasbusRedis

/// The Redis server's clock, as far as it is known here: its last answer to `TIME`, carried on by
/// this machine's monotonic clock. Two machines' clocks are never compared.
package struct ServerClock: Sendable {
  /// The server's time when it answered, in ms since 1970.
  package let time: Int64
  /// The server looked at its clock at some moment between these.
  private(set) var asked: ContinuousClock.Instant
  package private(set) var answered: ContinuousClock.Instant

  /// - Parameters:
  ///   - time: the server's time in ms since 1970.
  ///   - asked: when the question was sent.
  ///   - answered: when the answer was there.
  init(
    time: Int64, asked: ContinuousClock.Instant, answered: ContinuousClock.Instant = .now
  ) {
    self.time = time
    self.asked = asked
    self.answered = answered
  }

  /// Reads the reply to `TIME`; nil for anything else.
  ///
  /// - Throws: `RedisError` where the server refused.
  init?(
    _ reply: RedisValue?, asked: ContinuousClock.Instant,
    answered: ContinuousClock.Instant = .now
  ) throws {
    guard let time = try? reply?.get().serverTime else {
      try reply?.get()
      return nil
    }
    self.init(time: time, asked: asked, answered: answered)
  }

  /// Asks the server.
  ///
  /// - Throws: `RedisError`.
  package static func read(on connection: RedisConnection) async throws -> ServerClock {
    let asked = ContinuousClock.now
    let reply = try await connection.pipeline([RedisCommand("TIME")]).first
    guard let clock = try ServerClock(reply, asked: asked) else {
      throw RedisError(.unexpectedReply(to: "TIME"))
    }
    return clock
  }

  /// The server's time now, in ms since 1970. It may be too early by the time that the answer took,
  /// but never too late, so that no lease ends later than it may: an end too far in the future
  /// looks as if the server's clock had gone back.
  package var now: Int64 { time(at: .now) }

  func time(at moment: ContinuousClock.Instant) -> Int64 {
    time + (moment - answered).milliseconds
  }

  /// Whether the server's clock was moved by more than `tolerance` ms between the two answers,
  /// however long each of them took.
  func wasMoved(before later: ServerClock, tolerance: Int64) -> Bool {
    let earliest = time + (later.asked - answered).milliseconds
    let latest = time + (later.answered - asked).milliseconds
    return later.time < earliest - tolerance || later.time > latest + tolerance
  }
}
