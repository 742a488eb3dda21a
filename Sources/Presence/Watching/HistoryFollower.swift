import PaasbusRedis

/// Reads a bus's history from a position on, each event once and in order, at its own pace. The
/// history itself is the queue, so a slow reader needs no memory for events that it has not read
/// yet.
package struct HistoryFollower: Sendable {
  package var app: String { keys.app }
  /// The position of the last event that was handed over; before that, the position after which
  /// reading begins.
  package var position: Position? { timeline.position }
  private let keys: Keys
  private var timeline: Timeline

  /// Begins after the last event, or at the first one that happened since a moment.
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

  /// Begins with the first event of a bus that is only being created now.
  package init(app: String) {
    self.init(Keys(app: app), behind: nil)
  }

  /// Begins with the event after a position.
  package init(app: String, after position: Position) {
    self.init(Keys(app: app), behind: position)
  }

  private init(_ keys: Keys, behind position: Position?) {
    self.keys = keys
    timeline = Timeline(app: keys.app, position: position, trustsMessages: false)
  }

  /// Hands over the part of the history that has not been handed over yet, page by page.
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
