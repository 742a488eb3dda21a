import PaasbusRedis

/// Follows a bus on one connection: takes messages, compares with the bus and reads the history, one after the
/// other, so that nothing needs a lock. What to do the ``Timeline`` decides.
struct BusFollower {
  /// How often the position is compared with the bus, with a PING on the subscription.
  private static let comparisonInterval = Duration.milliseconds(4700)
  /// How long after a PING the silence of the subscription counts as its death.
  private static let maxSilence = Duration.milliseconds(4500)
  /// Readings of the history, and comparisons, are at least this far apart.
  private static let historyInterval = Duration.milliseconds(100)
  /// Comparisons are this far apart where so much comes that they must not wait.
  private static let floodInterval = Duration.milliseconds(20)
  /// Messages about a past that is no longer remembered are judged this far apart.
  private static let recallInterval = Duration.seconds(1)
  /// A turn of the loop that took longer says that we stood still ourselves.
  private static let maxTurn = Duration.seconds(2)

  private let hub: Hub
  private let keys: Keys
  private let connections: WatchConnections
  private let query: RedisConnection
  private let times: BusTimes
  private(set) var timeline: Timeline
  private var knownApps: Set<String> = []

  private var nextComparison = ContinuousClock.now
  private var nextHistory = ContinuousClock.now
  private var nextRecall = ContinuousClock.now
  /// The comparison that waits for its pong: what the bus said, and when it was asked.
  private var pending: (bus: Position?, asked: ContinuousClock.Instant)?
  private var lastHeard = ContinuousClock.now
  /// The hub's roster is not up to date, after a gap or a reset.
  private var needsSnapshot = false

  init(
    _ hub: Hub, _ connections: WatchConnections, timeline: Timeline, times: BusTimes,
    query: RedisConnection
  ) {
    (self.hub, self.connections, self.query) = (hub, connections, query)
    (self.timeline, self.times) = (timeline, times)
    keys = Keys(app: timeline.app)
  }

  /// Shows what happens until the connection fails or the task is cancelled, or another channel turns out to be
  /// the bus's.
  mutating func run(_ messages: RedisBatch?) async throws {
    if let messages { try await receive(messages) }
    while !Task.isCancelled {
      let now = ContinuousClock.now
      if timeline.needsHistory, now >= nextHistory {
        nextHistory = now + Self.historyInterval
        try await readHistory()
      }
      if timeline.hasLatecomers, now >= nextRecall {
        nextRecall = now + Self.recallInterval
        try await recall()
        // They may also mean that the bus went back to an earlier state.
        nextComparison = now
      }
      if needsSnapshot {
        needsSnapshot = false
        let includesEnds = hub.watcher.options.keepsEnded
        hub.begin(
          with: try await Snapshot.read(keys: keys, includesEnds: includesEnds, on: query))
      }
      if now >= nextComparison { try await compare(now) }
      switch await connections.subscription.next(within: untilNext) {
      case .messages(let batch): try await receive(batch)
      case .timeOut: try checkSilence(since: now)
      case .cancelled: return
      case .ended(let error): throw error
      }
      if timeline.wantsComparison, pending == nil {
        nextComparison = min(nextComparison, now + Self.floodInterval)
      }
    }
  }

  private var untilNext: Duration {
    var next = nextComparison
    if timeline.needsHistory { next = min(next, nextHistory) }
    if timeline.hasLatecomers { next = min(next, nextRecall) }
    return max(.zero, next - .now)
  }

  private mutating func receive(_ batch: RedisBatch) async throws {
    guard !batch.isEmpty else { return }
    // Once something has been taken from the channel, nothing may keep it from being told.
    try await hub.room()
    lastHeard = .now
    let now = times.clock?.now ?? 0
    var news: [WatchOutput] = []
    news.reserveCapacity(batch.count)
    for push in batch {
      if let payload = push.payload {
        if let shown = timeline.receive(payload, now: now) { news.append(shown) }
      } else {
        if let pending { timeline.settle(pending.bus) }
        pending = nil
      }
    }
    tellOtherApps()
    put(news)
  }

  /// Shows what happened, and remembers what it means for the watch itself.
  private mutating func put(_ news: [WatchOutput]) {
    var maxLease: Int64 = 0
    for item in news {
      switch item {
      case .event(let event, _): maxLease = max(maxLease, event.lease)
      case .gap, .reset, .retracted: needsSnapshot = hub.watcher.options.keepsRoster
      case .snapshot, .foreign, .message: break
      }
    }
    if maxLease > 0 { times.learn(beat: .milliseconds(maxLease / 3)) }
    hub.put(news)
  }

  private mutating func tellOtherApps() {
    for app in timeline.otherApps.subtracting(knownApps).sorted() {
      knownApps.insert(app)
      let isOneTooMany = knownApps.count > Timeline.maxOtherApps
      hub.notify(isOneTooMany ? .manyOtherApps : .otherApp(app))
    }
  }

  // MARK: Comparison and history

  private mutating func compare(_ now: ContinuousClock.Instant) async throws {
    nextComparison = SharedTick.last(within: Self.comparisonInterval, of: now)
    let before = timeline.position
    let bus = try await BusState.read(keys: keys, on: query)
    if let other = bus.channel, other != connections.channel {
      throw PresenceError.otherChannel(app: keys.app, channel: other)
    }
    timeline.compare(bus.position, shownBefore: before)
    // A pong says something of the question right before it only.
    guard pending == nil else { return }
    pending = (bus.position, now)
    connections.subscription.ping()
  }

  /// - Parameter turn: when this turn of the loop began. Where it took long, we stood still
  ///   ourselves, and what has come meanwhile may still be on its way through us.
  private mutating func checkSilence(since turn: ContinuousClock.Instant) throws {
    let now = ContinuousClock.now
    if now - turn > Self.maxTurn { lastHeard = now }
    guard let pending, now - max(pending.asked, lastHeard) > Self.maxSilence else { return }
    throw RedisError(.silentSubscription)
  }

  private mutating func readHistory() async throws {
    guard let bus = try await BusState.read(keys: keys, on: query).position else {
      try await hub.room()
      return put(timeline.abandon())
    }
    let history = History(keys: keys)
    try await hub.room()
    let (start, first) = timeline.begin(bus)
    put(first)
    try await history.read(from: start, on: query) { page in
      try await hub.room()
      put(timeline.replay(page, bus: bus))
    }
    try await hub.room()
    put(timeline.finish(bus))
  }

  private mutating func recall() async throws {
    let history = History(keys: keys)
    for range in timeline.latecomerPositions {
      try await history.read(from: range.lowerBound, through: range.upperBound, on: query) {
        timeline.recall($0)
      }
    }
    try await hub.room()
    put(timeline.judgeLatecomers())
  }
}
