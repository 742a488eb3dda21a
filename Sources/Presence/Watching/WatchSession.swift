import PaasbusRedis

/// One connected stretch of a watch: takes messages, compares with the bus and reads the history, one
/// after the other, so that nothing needs a lock; and beside that looks after the instances.
struct WatchSession {
  /// How often the position is compared with the bus, with a PING on the subscription.
  private static let comparisonInterval = Duration.seconds(4)
  /// How long after a PING the silence of the subscription counts as its death.
  private static let maxSilence = Duration.milliseconds(4500)
  /// An answer that takes longer than this is none, however patient the first contact was.
  private static let maxAnswer = Duration.seconds(5)
  /// Readings of the history, and comparisons, are at least this far apart.
  private static let historyInterval = Duration.milliseconds(100)
  /// Comparisons are this far apart where so much comes that they must not wait.
  private static let floodInterval = Duration.milliseconds(20)
  /// Messages about a past that is no longer remembered are judged this far apart.
  private static let recallInterval = Duration.seconds(1)
  /// Where every event waits for its reading.
  private static let confirmationInterval = Duration.milliseconds(20)
  /// A turn of the loop that took longer says that we stood still ourselves.
  private static let maxTurn = Duration.seconds(2)
  /// More leases than these are not read so often.
  private static let manyLeases = 20_000
  /// How many events before the snapshot's position are remembered.
  private static let tailLength = 200

  private let hub: Hub
  private let keys: Keys
  private let channel: String
  private var query: RedisConnection
  private let subscription: RedisSubscription
  private var clock: ServerClock?
  private var knownApps: Set<String> = []
  private let beat = LeaseWatch.LongestBeat()

  private var nextComparison = ContinuousClock.now
  private var nextHistory = ContinuousClock.now
  private var nextRecall = ContinuousClock.now
  /// The comparison that waits for its pong: what the bus said, and when it was asked.
  private var pending: (bus: Position?, asked: ContinuousClock.Instant)?
  private var lastHeard = ContinuousClock.now
  /// What the hub holds no longer adds up.
  private var needsSnapshot = false

  init(_ hub: Hub, app: String, _ connections: WatchConnections) {
    self.hub = hub
    keys = Keys(app: app)
    channel = connections.channel
    query = connections.query
    subscription = connections.subscription
  }

  private var options: Watcher.Options { hub.watcher.options }

  /// Shows all that is to be shown, until the connection fails or the task is cancelled, or another
  /// channel turns out to be the bus's; and looks after the instances. What fails first ends both.
  ///
  /// - Parameters:
  ///   - messages: what came before it was known whose bus this is.
  ///   - isReconnected: whether this follows another connection, which was lost.
  func run(
    _ progress: WatchProgress, messages: RedisBatch?, isReconnected: Bool
  ) async throws {
    let leases = LeaseWatch(
      keys: keys, beat: beat, isReconnected: isReconnected, notify: hub.notify)
    // Before anything else, since whatever the server lacks shows here.
    let snapshot = progress.isFollowing ? nil : try await firstSnapshot()
    let query = query.limited(to: min(hub.watcher.timeout, Self.maxAnswer))
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask(executorPreference: hub.watcher.connector.thread.executor) {
        try await leases.run(on: query)
        return false
      }
      if let interval = options.leaseInterval {
        group.addTask {
          try await readLeases(every: interval, on: query)
          return false
        }
      }
      group.addTask {
        var session = self
        try await session.follow(progress, snapshot, messages)
        return true
      }
      while let isOver = try await group.next() {
        if isOver { return group.cancelAll() }
      }
    }
  }

  /// Tells the hub again and again when each instance last said that it is there.
  private func readLeases(every interval: Duration, on query: RedisConnection) async throws {
    while true {
      let leases = try await Leases.read(keys: keys, on: query)
      hub.renew(leases)
      let isMany = leases.ends.count > Self.manyLeases
      try await Task.sleep(for: interval * (isMany ? 5 : 1))
    }
  }

  // MARK: Beginning

  private func firstSnapshot() async throws -> (snapshot: Snapshot, clock: ServerClock) {
    let asked = ContinuousClock.now
    let snapshot = try await Snapshot.read(keys: keys, tailLength: Self.tailLength, on: query)
    for status in snapshot.instances where status.isPresent { beat.learn(status.instance.beat) }
    return (snapshot, ServerClock(time: snapshot.now, asked: asked))
  }

  /// Shows the history asked for and the snapshot.
  private mutating func begin(with snapshot: Snapshot) async throws -> Timeline {
    let present = snapshot.instances.filter(\.isPresent)
    if let since = options.since, let end = snapshot.position {
      let earliest = since.earliest(now: snapshot.now)
      let history = History(keys: keys)
      let start = try await history.start(notBefore: earliest, end: end, on: query)
      try await history.read(from: start, through: end, on: query) { page in
        try await tell(page.compactMap { $0.output(notBefore: earliest) })
      }
    }
    if options.keepsRoster { hub.begin(with: snapshot) }
    if options.showsSnapshot { try await tell(present.map { .snapshot($0) }) }
    return Timeline(
      app: keys.app, position: snapshot.position, tail: snapshot.tail,
      trustsMessages: !options.confirmsEvents)
  }

  // MARK: Following

  private mutating func follow(
    _ progress: WatchProgress, _ first: (snapshot: Snapshot, clock: ServerClock)?,
    _ messages: RedisBatch?
  ) async throws {
    var current: Timeline
    if let first {
      clock = first.clock
      current = try await begin(with: first.snapshot)
      progress.set(.following(current))
      hub.notify(.watching(app: keys.app, channel: channel))
    } else if case .following(let timeline) = progress.get() {
      current = timeline
    } else {
      return
    }
    // From here on an answer that takes long is none.
    query = query.limited(to: min(hub.watcher.timeout, Self.maxAnswer))
    // Whatever ends this, what has been shown stays known.
    defer { progress.set(.following(current)) }
    if let messages { try await receive(messages, &current) }
    while !Task.isCancelled {
      let now = ContinuousClock.now
      if current.needsHistory, now >= nextHistory {
        nextHistory = now + readingInterval
        try await readHistory(&current)
      }
      if current.hasLatecomers, now >= nextRecall {
        nextRecall = now + Self.recallInterval
        try await recall(&current)
        // Or the bus went back to where it was.
        nextComparison = now
      }
      if needsSnapshot {
        needsSnapshot = false
        hub.begin(with: try await Snapshot.read(keys: keys, on: query))
      }
      if now >= nextComparison { try await compare(&current, now) }
      switch await subscription.next(within: untilNext(current)) {
      case .messages(let batch): try await receive(batch, &current)
      case .timeOut: try checkSilence(since: now)
      case .cancelled: return
      case .ended(let error): throw error
      }
      if current.wantsComparison, pending == nil {
        nextComparison = min(nextComparison, now + Self.floodInterval)
      }
    }
  }

  private var readingInterval: Duration {
    options.confirmsEvents ? Self.confirmationInterval : Self.historyInterval
  }

  private func untilNext(_ timeline: Timeline) -> Duration {
    var next = nextComparison
    if timeline.needsHistory { next = min(next, nextHistory) }
    if timeline.hasLatecomers { next = min(next, nextRecall) }
    return max(.zero, next - .now)
  }

  private mutating func receive(
    _ batch: RedisBatch, _ timeline: inout Timeline
  ) async throws {
    guard !batch.isEmpty else { return }
    // Once something has been taken from the channel, nothing may keep it from being told.
    try await hub.room()
    lastHeard = .now
    let now = clock?.now ?? 0
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
    tellOtherApps(timeline)
    put(news)
  }

  /// Shows something once there is room for it.
  private mutating func tell(_ news: [WatchOutput]) async throws {
    guard !news.isEmpty else { return }
    try await hub.room()
    put(news)
  }

  /// Shows what happened, and remembers what it means for the watch itself.
  private mutating func put(_ news: [WatchOutput]) {
    var maxLease: Int64 = 0
    for item in news {
      switch item {
      case .event(let event, _): maxLease = max(maxLease, event.lease)
      case .gap, .reset, .retracted: needsSnapshot = options.keepsRoster
      case .snapshot, .foreign, .message: break
      }
    }
    if maxLease > 0 { beat.learn(.milliseconds(maxLease / 3)) }
    hub.put(news)
  }

  private mutating func tellOtherApps(_ timeline: Timeline) {
    for app in timeline.otherApps.subtracting(knownApps).sorted() {
      knownApps.insert(app)
      let isOneTooMany = knownApps.count > Timeline.maxOtherApps
      hub.notify(isOneTooMany ? .manyOtherApps : .otherApp(app))
    }
  }

  // MARK: Comparison and history

  private mutating func compare(
    _ timeline: inout Timeline, _ now: ContinuousClock.Instant
  ) async throws {
    nextComparison = now + Self.comparisonInterval
    let before = timeline.position
    let asked = ContinuousClock.now
    let replies = try await query.pipeline([RedisCommand("TIME"), BusState.command(keys)])
    clock = try ServerClock(replies.first, asked: asked) ?? clock
    let bus = try BusState(replies.at(1))
    if let other = bus.channel, other != channel {
      throw PresenceError.otherChannel(app: keys.app, channel: other)
    }
    timeline.compare(bus.position, shownBefore: before)
    // A pong says something of the question right before it only.
    guard pending == nil else { return }
    pending = (bus.position, now)
    subscription.ping()
  }

  /// - Parameter turn: when this turn of the loop began. Where it took long, we stood still
  ///   ourselves, and what has come meanwhile may still be on its way through us.
  private mutating func checkSilence(since turn: ContinuousClock.Instant) throws {
    let now = ContinuousClock.now
    if now - turn > Self.maxTurn { lastHeard = now }
    guard let pending, now - max(pending.asked, lastHeard) > Self.maxSilence else { return }
    throw RedisError(.silentSubscription)
  }

  private mutating func readHistory(_ timeline: inout Timeline) async throws {
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

  private mutating func recall(_ timeline: inout Timeline) async throws {
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
