import PaasbusRedis

/// An entry of the stream of events.
package struct HistoryEntry: Sendable, Hashable {
  package var position: Position
  package var bytes: ArraySlice<UInt8>

  package init(position: Position, bytes: ArraySlice<UInt8>) {
    self.position = position
    self.bytes = bytes
  }

  /// Reads `[id, [field, value, …]]` as `XRANGE` gives it; nil for an entry that our scripts did
  /// not write.
  package init?(_ value: RedisValue) {
    guard case .array(let parts) = value, parts.count == 2, let id = parts[0].bytes,
      case .array(let fields) = parts[1], fields.count >= 2, fields[0].bytes == Self.field[...],
      let bytes = fields[1].bytes, let position = Position(entryID: id)
    else { return nil }
    self.init(position: position, bytes: bytes)
  }

  private static let field = Array("event".utf8)

  /// What a replay shows of it; nil for what happened before `earliest` (ms).
  package func output(notBefore earliest: Int64) -> WatchOutput? {
    guard let event = Event.read(bytes) else { return .message(Timeline.text(bytes)) }
    return event.at >= earliest ? .event(event, .replay) : nil
  }
}

/// Reads the stream of events in pages.
package struct History: Sendable {
  /// At 8 KiB an event, a page is 4 MiB at the most.
  private static let pageSize = 500

  private let keys: Keys

  package init(keys: Keys) {
    self.keys = keys
  }

  /// Hands over the entries from `start` (inclusive; nil for the oldest), page by page.
  ///
  /// - Throws: `RedisError`, or what `body` throws.
  package func read(
    from start: Position? = nil, through end: Position? = nil, on connection: RedisConnection,
    _ body: ([HistoryEntry]) async throws -> Void
  ) async throws {
    let upper = end?.entryID ?? "+"
    var page = try await read(start?.entryID ?? "-", upper, on: connection)
    while let next = page.next {
      // The server looks for the next page while this one is worked on.
      async let following = read(next, upper, on: connection)
      try await body(page.entries)
      page = try await following
    }
    try await body(page.entries)
  }

  /// - Returns: a page, and where the next one begins; nil where it was the last.
  private func read(
    _ lower: String, _ upper: String, on connection: RedisConnection
  ) async throws -> (entries: [HistoryEntry], next: String?) {
    let reply = try await connection.send(
      RedisCommand("XRANGE", keys.events, lower, upper, "COUNT", "\(Self.pageSize)")
    ).elements(to: "XRANGE")
    let last = reply.last?.elements.first?.string
    let isFull = reply.count == Self.pageSize
    return (
      reply.compactMap(HistoryEntry.init), isFull ? last.flatMap(Self.after) : nil
    )
  }

  /// Hands over the entries from the newest to the oldest, page by page, until `body` returns
  /// false.
  ///
  /// - Throws: `RedisError`, or what `body` throws.
  package func readBackwards(
    on connection: RedisConnection, _ body: ([HistoryEntry]) async throws -> Bool
  ) async throws {
    var upper = "+"
    while true {
      let reply = try await connection.send(
        RedisCommand("XREVRANGE", keys.events, upper, "-", "COUNT", "\(Self.pageSize)")
      ).elements(to: "XREVRANGE")
      guard try await body(reply.compactMap(HistoryEntry.init)), reply.count == Self.pageSize,
        let last = reply.last?.elements.first?.string, let next = Self.before(last)
      else { return }
      upper = next
    }
  }

  /// The oldest entry at or after a position; without a position, the oldest of all.
  ///
  /// - Throws: `RedisError`.
  func first(from start: Position?, on connection: RedisConnection) async throws -> Position? {
    let reply = try await connection.send(
      RedisCommand("XRANGE", keys.events, start?.entryID ?? "-", "+", "COUNT", "1"))
    return reply.elements.first.flatMap(HistoryEntry.init)?.position
  }

  /// The position from which to read what happened at or after a moment. Events are ordered by
  /// time, so a binary search finds it.
  ///
  /// - Parameters:
  ///   - earliest: in ms by the server's clock.
  ///   - end: the last event.
  /// - Returns: nil for the oldest entry.
  /// - Throws: `RedisError`.
  package func start(
    notBefore earliest: Int64, end: Position, on connection: RedisConnection
  ) async throws -> Position? {
    // The moment is before this bus began, so everything is read: what an older bus left has other
    // numbers, and is not much.
    guard earliest > end.epoch else { return nil }
    var (low, high) = (Int64(1), end.seq + 1)
    while low < high {
      let middle = low + (high - low) / 2
      let position = Position(epoch: end.epoch, seq: middle)
      let reply = try await connection.send(
        RedisCommand("XRANGE", keys.events, position.entryID, end.entryID, "COUNT", "1"))
      // An entry that cannot be decoded has no time. The search keeps it, and it is dealt with when
      // it is read.
      guard let entry = reply.elements.first.flatMap(HistoryEntry.init),
        let event = Event.read(entry.bytes), event.at < earliest
      else {
        high = middle
        continue
      }
      low = entry.position.seq + 1
    }
    return Position(epoch: end.epoch, seq: low)
  }

  private static func before(_ id: String) -> String? {
    guard let (first, last) = parts(id) else { return nil }
    if last > 0 { return "\(first)-\(last - 1)" }
    return first > 0 ? "\(first - 1)-\(UInt64.max)" : nil
  }

  /// The id after another. `XRANGE (id` needs Redis 6.2, so we count ourselves.
  private static func after(_ id: String) -> String? {
    guard let (first, last) = parts(id) else { return nil }
    let next = last.addingReportingOverflow(1)
    return next.overflow ? "\(first &+ 1)-0" : "\(first)-\(next.partialValue)"
  }

  private static func parts(_ id: String) -> (first: UInt64, last: UInt64)? {
    let parts = id.split(separator: "-").compactMap { UInt64($0) }
    guard parts.count == 2, let first = parts.first, let last = parts.last else { return nil }
    return (first, last)
  }
}
