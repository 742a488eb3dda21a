import PaasbusRedis

/// Waits for the first app with an instance that is announced.
struct BusFinder {
  /// How often the list of apps is read.
  private static let interval = Duration.seconds(1)
  /// The most apps named by messages that are looked up at once.
  private static let maxNamed = 20

  let hub: Hub
  let connections: WatchConnections

  /// - Returns: the app and the last messages; nil when the task is cancelled.
  /// - Throws: `RedisError`.
  func find() async throws -> (app: String, messages: RedisBatch?)? {
    while true {
      let batch: RedisBatch?
      switch await connections.subscription.next(within: Self.interval) {
      case .messages(let messages):
        // The answer to a PING says only that the connection lives.
        guard messages.contains(where: { $0.payload != nil }) else { continue }
        batch = messages
      case .timeOut:
        batch = nil
        connections.subscription.ping()
      case .cancelled: return nil
      case .ended(let error): throw error
      }
      let asked = ContinuousClock.now
      let replies = try await connections.query.pipeline([
        RedisCommand("TIME"), RedisCommand("ZRANGE", Keys.apps, "0", "0"),
      ])
      let clock = try? ServerClock(replies.first, asked: asked)
      let messages = batch?.compactMap(\.payload) ?? []
      let apps = try (replies.at(1) ?? .null).elements(to: "ZRANGE")
      if let listed = apps.first?.string { return (listed, batch) }
      if let announced = try await announcedApp(messages) { return (announced, batch) }
      try await hub.room()
      hub.put(messages.map { Timeline.outsideAnyBus($0, now: clock?.now ?? 0) })
    }
  }

  /// The app that one of the messages comes from. A message arrives before the app is in the list.
  /// But any client may publish, so the app counts only if its bus exists.
  private func announcedApp(_ messages: [ArraySlice<UInt8>]) async throws -> String? {
    let apps = Set(messages.lazy.compactMap { Event.read($0)?.app }.prefix(Self.maxNamed))
    for app in apps.sorted() where Keys.appName(from: app) == app {
      do {
        let bus = try await BusState.read(keys: Keys(app: app), on: connections.query)
        if bus.position != nil { return app }
      } catch let error as RedisError where error.kind == .wrongServer {
        // The bus is on another node of the cluster. The list of apps is on this node and will
        // contain the app.
        continue
      }
    }
    return nil
  }
}
