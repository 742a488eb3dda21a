import PaasbusRedis

/// A look at a bus's history: the events that were asked for, the oldest first.
package struct HistoryReading {
  private let history: History
  private let connection: RedisConnection
  private let end: Position
  private let earliest: Int64
  private let filter: (WatchOutput) -> Bool

  /// - Parameters:
  ///   - end: the last event.
  ///   - earliest: the first moment that counts, in ms by the server's clock.
  package init(
    keys: Keys, end: Position, earliest: Int64, on connection: RedisConnection,
    filter: @escaping (WatchOutput) -> Bool
  ) {
    history = History(keys: keys)
    (self.connection, self.end, self.earliest) = (connection, end, earliest)
    self.filter = filter
  }

  /// Hands over what was asked for, the oldest first, page by page.
  ///
  /// - Parameter count: how many of the last events to hand over; nil for all.
  /// - Throws: `RedisError`, what `body` throws.
  package func read(
    last count: Int? = nil, _ body: ([WatchOutput]) async throws -> Void
  ) async throws {
    if let count { return try await body(try await last(count)) }
    let start = try await history.start(notBefore: earliest, end: end, on: connection)
    try await history.read(from: start, on: connection) { page in
      try await body(wanted(page))
    }
  }

  private func last(_ count: Int) async throws -> [WatchOutput] {
    var found: [WatchOutput] = []
    try await history.readBackwards(on: connection) { page in
      found += wanted(page).prefix(count - found.count)
      let isOlder = page.last.flatMap { Event.read($0.bytes) }.map { $0.at < earliest }
      return found.count < count && isOlder != true
    }
    return found.reversed()
  }

  private func wanted(_ page: [HistoryEntry]) -> [WatchOutput] {
    page.compactMap { $0.output(notBefore: earliest) }.filter(filter)
  }
}
