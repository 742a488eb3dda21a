import PaasbusRedis

/// One connected stretch of a watch of a known bus: two tasks, of which one follows the bus, and one looks after
/// the leases, and tells how old the beats are where a reader of the hub wants to know.
struct WatchSession {
  /// An answer that takes longer than this is none, however patient the first contact was.
  private static let maxAnswer = Duration.seconds(5)
  /// How many events before the snapshot's position are remembered.
  private static let tailLength = 200

  let hub: Hub
  let app: String
  let connections: WatchConnections

  private var keys: Keys { Keys(app: app) }
  private var options: Watcher.Options { hub.watcher.options }

  /// Shows all that is to be shown, until the connection fails or the task is cancelled, or another
  /// channel turns out to be the bus's. The first failure ends all tasks.
  ///
  /// - Parameters:
  ///   - messages: what came before it was known whose bus this is.
  ///   - isReconnected: whether this follows another connection, which was lost.
  func run(
    _ progress: WatchProgress, messages: RedisBatch?, isReconnected: Bool
  ) async throws {
    var leases = LeaseWatch(
      keys: keys, times: progress.times, isReconnected: isReconnected, notify: hub.notify)
    if options.readsLeases { leases.share = hub.renew }
    // Before anything else, since whatever the server lacks shows here.
    let first = progress.isFollowing ? nil : try await firstSnapshot(progress.times)
    let query = connections.query.limited(to: min(hub.watcher.timeout, Self.maxAnswer))
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask(executorPreference: hub.watcher.connector.thread.executor) { [leases] in
        try await leases.run(on: query)
        return false
      }
      group.addTask {
        try await follow(progress, first, messages, on: query)
        return true
      }
      while let isOver = try await group.next() {
        if isOver { return group.cancelAll() }
      }
    }
  }

  private func firstSnapshot(_ times: BusTimes) async throws -> Snapshot {
    let asked = ContinuousClock.now
    let snapshot = try await Snapshot.read(
      keys: keys, tailLength: Self.tailLength, includesEnds: options.keepsEnded,
      on: connections.query)
    for status in snapshot.instances where status.isPresent {
      times.learn(beat: status.instance.beat)
    }
    times.clock = ServerClock(time: snapshot.now, asked: asked)
    return snapshot
  }

  private func follow(
    _ progress: WatchProgress, _ first: Snapshot?, _ messages: RedisBatch?,
    on query: RedisConnection
  ) async throws {
    let timeline: Timeline
    if let first {
      timeline = try await begin(with: first)
      progress.set(.following(timeline))
      hub.notify(.watching(app: app, channel: connections.channel))
    } else if case .following(let known) = progress.get() {
      timeline = known
    } else {
      return
    }
    var follower = BusFollower(
      hub, connections, timeline: timeline, times: progress.times, query: query)
    // Whatever ends this, what has been shown stays known.
    defer { progress.set(.following(follower.timeline)) }
    try await follower.run(messages)
  }

  /// Shows the history asked for and the snapshot. The whole history may take longer than an answer may later.
  private func begin(with snapshot: Snapshot) async throws -> Timeline {
    let present = snapshot.instances.filter(\.isPresent)
    if let since = options.since, let end = snapshot.position {
      let earliest = since.earliest(now: snapshot.now)
      let history = History(keys: keys)
      let start = try await history.start(
        notBefore: earliest, end: end, on: connections.query)
      try await history.read(from: start, through: end, on: connections.query) { page in
        try await hub.tell(page.compactMap { $0.output(notBefore: earliest) })
      }
    }
    if options.keepsRoster { hub.begin(with: snapshot) }
    if options.showsSnapshot { try await hub.tell(present.map { .snapshot($0) }) }
    return Timeline(
      app: app, position: snapshot.position, tail: snapshot.tail,
      trustsMessages: !options.confirmsEvents)
  }
}
