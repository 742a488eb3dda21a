import PaasbusRedis

/// A watch's claim to run a handler with a name, which one watch at a time does.
///
/// The record on the bus says who that is and until when. It is renewed as long as the watch lives, and another one
/// takes over after it ended. Only the owner moves the position, so that an event that was handled is not handled
/// again.
package struct HandlerOwnership: Sendable {
  /// Where a name begins that has no record yet.
  package enum Start: Sendable, Hashable {
    /// With the next event.
    case now
    /// With the first event of a bus that is only being created.
    case firstEvent
    /// With the event behind this one. Where the bus was created again meanwhile, that is its first.
    case after(Position)

    package init(_ position: Position?) { self = position.map(Start.after) ?? .firstEvent }

    fileprivate var arguments: [String] {
      switch self {
      case .now: ["", ""]
      case .firstEvent: ["-", "-"]
      case .after(let position): ["\(position.epoch)", "\(position.seq)"]
      }
    }
  }

  /// The answer to a claim or a move.
  package struct Answer: Sendable {
    package var isOwner: Bool
    /// Whether another one, or none, was the owner before.
    package var isNew: Bool
    /// nil where there is none.
    package var record: HandlerRecord?
    /// For how long the owner's time still goes on.
    package var left: Duration
  }

  /// How long an owner that is not heard of stays the owner.
  package static let length = Duration.seconds(15)

  let keys: Keys
  package let name: String
  private let token = InstanceID.make()

  package init(_ name: String, keys: Keys) {
    (self.name, self.keys) = (name, keys)
  }

  /// Becomes or stays the owner, unless there is another one.
  ///
  /// - Throws: `RedisError`.
  package func claim(from start: Start, on connection: RedisConnection) async throws -> Answer {
    try await run(
      Scripts.claim, [keys.bus, keys.handlers],
      [name, token, "\(Self.length.milliseconds)"] + start.arguments, on: connection)
  }

  /// Says how far the handler has come, or how often the next event has failed.
  ///
  /// - Throws: `RedisError`.
  package func advance(
    to position: Position?, tries: Int = 0, on connection: RedisConnection
  ) async throws -> Answer {
    try await move(to: position, tries: tries, length: Self.length, on: connection)
  }

  /// Leaves the handler to others, who go on behind a position.
  ///
  /// - Throws: `RedisError`.
  package func release(
    at position: Position?, tries: Int, on connection: RedisConnection
  ) async throws {
    _ = try await move(to: position, tries: tries, length: .zero, on: connection)
  }

  private func move(
    to position: Position?, tries: Int, length: Duration, on connection: RedisConnection
  ) async throws -> Answer {
    try await run(
      Scripts.advance, [keys.bus, keys.handlers],
      [name, token] + Start(position).arguments + ["\(tries)", "\(length.milliseconds)"],
      on: connection)
  }

  private func run(
    _ script: RedisScript, _ keys: [String], _ arguments: [String],
    on connection: RedisConnection
  ) async throws -> Answer {
    let (reply, _) = try await script.run(
      on: connection, keys: keys.map { Array($0.utf8) },
      arguments: arguments.map { Array($0.utf8) })
    let parts = reply.elements
    guard let word = parts.first?.string, let text = parts.at(1)?.string,
      let now = parts.at(2)?.integer
    else { throw RedisError(.unexpectedReply(to: "EVALSHA")) }
    let record = HandlerRecord(text)
    let (left, _) = (record?.ownedUntil ?? 0).subtractingReportingOverflow(now)
    return Answer(
      isOwner: word != "other", isNew: word == "new", record: record,
      left: .milliseconds(max(0, left)))
  }
}
