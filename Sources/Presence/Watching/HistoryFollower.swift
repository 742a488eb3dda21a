import PaasbusRedis

/// Reads a bus's history on from a position, each event once and in order, at its own pace: the history
/// is the queue, so a slow reader needs no memory for what it has not come to.
package struct HistoryFollower: Sendable {
  package var app: String { keys.app }
  /// The last event that was handed over, or before which it begins.
  package var position: Position? { timeline.position }
  private let keys: Keys
  private var timeline: Timeline

  /// Begins behind the last event, or at the first one that happened since a moment.
  ///
  /// - Throws: `RedisError`.
  package static func begin(
    app: String, since: Watcher.Since?, on connection: RedisConnection
  ) async throws -> HistoryFollower {
    let keys = Keys(app: app)
    let end = try await BusState.read(keys: keys, on: connection).position
    guard let since, let end else { return HistoryFollower(keys, behind: end) }
    let now = try await ServerClock.read(on: connection).now
    let history = History(keys: keys)
    let start = try await history.start(
      notBefore: since.earliest(now: now), end: end, on: connection)
    let first = try await history.first(from: start, on: connection)
    guard let first else { return HistoryFollower(keys, behind: end) }
    return HistoryFollower(keys, behind: Position(epoch: first.epoch, seq: first.seq - 1))
  }

  /// Begins with the first event of a bus that is only now being born.
  package init(app: String) {
    self.init(Keys(app: app), behind: nil)
  }

  private init(_ keys: Keys, behind position: Position?) {
    self.keys = keys
    timeline = Timeline(app: keys.app, position: position, trustsMessages: false)
  }

  /// Hands over what the history holds that has not been handed over, page by page.
  ///
  /// - Throws: `RedisError`; what was handed over counts as read.
  package mutating func catchUp(
    on connection: RedisConnection, _ body: ([WatchOutput]) async throws -> Void
  ) async throws {
    timeline.connectionWasLost()
    while timeline.needsHistory {
      guard let bus = try await BusState.read(keys: keys, on: connection).position else { return }
      let (start, first) = timeline.begin(bus)
      try await body(first)
      try await History(keys: keys).read(from: start, on: connection) { page in
        try await body(timeline.replay(page, bus: bus))
      }
      try await body(timeline.finish(bus))
    }
  }
}
