import PaasbusRedis

/// How far a handler with a name has come with the events of a bus, and which watch runs it.
package struct HandlerRecord: Sendable, Hashable {
  /// The last event that was handled or passed over; nil where the bus had none when the name began.
  package var position: Position?
  /// The token of the watch that runs it; nil where none does.
  package var owner: String?
  /// Until when that one runs it unless it says so again, in ms by the server's clock.
  package var ownedUntil: Int64
  /// How often the event behind the position has failed.
  package var tries: Int

  private static let maxTries = 1_000_000

  /// Reads `EPOCH SEQ OWNER END TRIES`, with `-` for what there is not; nil for anything else.
  init?(_ text: String) {
    let words = text.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 5, let end = Int64(words[3]), let tries = Int(words[4]) else { return nil }
    if words[0] != "-" {
      guard let epoch = Int64(words[0]), let seq = Int64(words[1]), epoch > 0,
        (0...Int64.max / 2).contains(seq)
      else { return nil }
      position = Position(epoch: epoch, seq: seq)
    }
    owner = words[2] == "-" ? nil : String(words[2])
    (ownedUntil, self.tries) = (end, min(max(0, tries), Self.maxTries))
  }

  /// The handler with a name; nil where there is none.
  ///
  /// - Throws: `RedisError`.
  static func read(
    _ name: String, keys: Keys, on connection: RedisConnection
  ) async throws -> HandlerRecord? {
    try await connection.send(RedisCommand("HGET", keys.handlers, name)).string
      .flatMap(HandlerRecord.init)
  }

  /// The handlers of a bus, by name.
  ///
  /// - Throws: `RedisError`.
  package static func all(
    keys: Keys, on connection: RedisConnection
  ) async throws -> [String: HandlerRecord] {
    let flat = try await connection.send(RedisCommand("HGETALL", keys.handlers)).elements
    var records: [String: HandlerRecord] = [:]
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      if let name = flat[index].string, let text = flat[index + 1].string {
        records[name] = HandlerRecord(text)
      }
    }
    return records
  }
}
