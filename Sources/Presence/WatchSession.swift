import Redis

/// One connected stretch of a watch: takes messages, compares with the bus, reads the history,
/// and looks at the leases, one after the other, so that nothing needs a lock.
struct WatchSession {
  typealias Show = ([WatchOutput]) async throws -> Void

  /// How often the position is compared with the bus, with a PING on the subscription.
  private static let comparisonInterval = Duration.seconds(4)
  /// How long after a PING the silence of the subscription counts as its death.
  private static let longestSilence = Duration.milliseconds(4500)
  /// An answer that takes longer than this is none, however patient the first contact was.
  private static let longestAnswer = Duration.seconds(5)
  /// Readings of the history, and comparisons, are at least this far apart.
  private static let historyInterval = Duration.milliseconds(100)
  /// Comparisons are this far apart where so much comes that they must not wait.
  private static let floodInterval = Duration.milliseconds(20)
  /// Where every event waits for its reading.
  private static let confirmationInterval = Duration.milliseconds(20)
  private static let lookInterval = Duration.seconds(1)
  /// The longest heartbeat interval that an instance may have: a third of the longest lease.
  private static let longestBeat = Duration.seconds(100)
  /// How many events before the snapshot's position are remembered.
  private static let tailLength = 200

  private let watcher: Watcher
  private let channel: String
  private var query: RedisConnection
  private let subscription: RedisSubscription
  private var clock: ServerClock?
  private var keys = Keys(app: "")
  private var reaper = Reaper(keys: Keys(app: ""))
  private var knownApps: Set<String> = []
  /// The longest heartbeat interval that has been seen: how far ahead leases are looked at.
  private var beat = Duration.seconds(5)

  private var nextComparison = ContinuousClock.now
  private var nextLook = ContinuousClock.now
  private var nextHistory = ContinuousClock.now
  /// The comparison that waits for its pong: what the bus said, and when it was asked.
  private var pending: (bus: Position?, asked: ContinuousClock.Instant)?
  private var lastHeard = ContinuousClock.now
  /// What was told of the whole bus no longer adds up.
  private var needsWhole = false

  init(
    _ watcher: Watcher, _ channel: String, _ query: RedisConnection,
    _ subscription: RedisSubscription
  ) {
    self.watcher = watcher
    self.channel = channel
    self.query = query
    self.subscription = subscription
  }

  /// Shows all that is to be shown, until the connection fails or the task is cancelled, or another
  /// channel turns out to be the bus's.
  mutating func run(_ progress: inout WatchProgress, app: String?, _ show: Show) async throws {
    if case .unconnected = progress {
      if let app {
        progress = .following(try await begin(app, show))
        watcher.notify(.watching(app: app, channel: channel))
      } else {
        progress = .waiting
        watcher.notify(.waitingForBus)
      }
    }
    if case .waiting = progress {
      guard let (app, batch) = try await firstBus(show) else { return }
      var timeline = Timeline(
        app: app, position: nil, trustsMessages: !watcher.options.confirmsEvents)
      timeline.connectionWasLost()
      progress = .following(timeline)
      keys = Keys(app: app)
      // In a cluster, another node holds it than the list of apps.
      let own = try? await BusState.read(keys: keys, on: query)
      watcher.notify(.watching(app: app, channel: own?.channel ?? channel))
      guard let own, own.channel ?? channel == channel else { return }
      try await receive(batch, &timeline, show)
      progress = .following(timeline)
    }
    try await follow(&progress, show)
  }

  // MARK: Beginning

  /// Shows the history asked for and the snapshot.
  private mutating func begin(_ app: String, _ show: Show) async throws -> Timeline {
    keys = Keys(app: app)
    let asked = ContinuousClock.now
    let snapshot = try await Snapshot.read(keys: keys, tailLength: Self.tailLength, on: query)
    clock = ServerClock(time: snapshot.now, asked: asked)
    if let since = watcher.options.since, let end = snapshot.position {
      let earliest = since.earliest(now: snapshot.now)
      let history = History(keys: keys)
      let start = try await history.start(notBefore: earliest, end: end, on: query)
      try await history.read(from: start, through: end, on: query) { page in
        try await show(page.compactMap { $0.output(notBefore: earliest) })
      }
    }
    let present = snapshot.instances.filter(\.isPresent)
    for status in present { learn(status.instance.beat) }
    if watcher.options.tellsWholes { try await show([.whole(snapshot)]) }
    if watcher.options.showsSnapshot { try await show(present.map { .snapshot($0) }) }
    return Timeline(
      app: keys.app, position: snapshot.position, tail: snapshot.tail,
      trustsMessages: !watcher.options.confirmsEvents)
  }

  /// Waits for the first app that anybody announces on; nil when the task is cancelled.
  private mutating func firstBus(_ show: Show) async throws -> (app: String, RedisBatch)? {
    while let batch = try await subscription.nextBatch(within: Self.lookInterval) {
      subscription.ping()
      let asked = ContinuousClock.now
      let replies = try await query.pipeline([
        RedisCommand("TIME"), RedisCommand("ZRANGE", Keys.apps, "0", "0"),
      ])
      clock = replies.first.flatMap(ServerClock.milliseconds)
        .map { ServerClock(time: $0, asked: asked) }
      let messages = batch.compactMap(\.payload)
      if let listed = replies.at(1)?.elements.first?.string { return (listed, batch) }
      if let announced = try await announcedBus(messages) { return (announced, batch) }
      let output = messages.map { Timeline.outsideAnyBus($0, now: clock?.now ?? 0) }
      if !output.isEmpty { try await show(output) }
    }
    return nil
  }

  /// The app that one of the messages comes from. It arrives before the list knows the app; but
  /// anybody may publish, so only a bus that is there counts.
  private func announcedBus(_ messages: [ArraySlice<UInt8>]) async throws -> String? {
    let apps = Set(messages.lazy.compactMap { Event.read($0)?.instance.app }.prefix(20))
    for app in apps.sorted() where Keys.appName(from: app) == app {
      do {
        let bus = try await BusState.read(keys: Keys(app: app), on: query)
        if bus.position != nil { return app }
      } catch let error as RedisError where error.kind == .elsewhere {
        // The list of apps, which is here, will know it.
        continue
      }
    }
    return nil
  }

  // MARK: Following

  /// Shows what happens, until the connection fails or the task is cancelled.
  private mutating func follow(_ progress: inout WatchProgress, _ show: Show) async throws {
    guard case .following(var current) = progress else { return }
    keys = Keys(app: current.app)
    reaper = Reaper(keys: keys)
    query = query.limited(to: min(watcher.timeout, Self.longestAnswer))
    // Whatever ends this, what has been shown stays known.
    defer { progress = .following(current) }
    while !Task.isCancelled {
      let now = ContinuousClock.now
      if current.needsHistory, now >= nextHistory {
        nextHistory = now + readingInterval
        try await readHistory(&current, show)
      }
      if needsWhole {
        needsWhole = false
        try await show([.whole(try await Snapshot.read(keys: keys, on: query))])
      }
      if now >= nextLook { try await look(now) }
      if let next = reaper.nextProbe, now >= next {
        try await reaper.lookAtConnections(on: query)
      }
      if now >= nextComparison { try await compare(&current, now) }
      guard let batch = try await subscription.nextBatch(within: untilNext(current)) else { return }
      if batch.isEmpty { try checkSilence(since: now) }
      try await receive(batch, &current, show)
      if current.wantsComparison, pending == nil {
        nextComparison = min(nextComparison, now + Self.floodInterval)
      }
    }
  }

  private var readingInterval: Duration {
    watcher.options.confirmsEvents ? Self.confirmationInterval : Self.historyInterval
  }

  private func untilNext(_ timeline: Timeline) -> Duration {
    var next = min(nextComparison, nextLook)
    if timeline.needsHistory { next = min(next, nextHistory) }
    if let probe = reaper.nextProbe { next = min(next, probe) }
    return max(.zero, next - .now)
  }

  private mutating func receive(
    _ batch: RedisBatch, _ timeline: inout Timeline, _ show: Show
  ) async throws {
    guard !batch.isEmpty else { return }
    lastHeard = .now
    let now = clock?.now ?? 0
    var output: [WatchOutput] = []
    output.reserveCapacity(batch.count)
    for index in batch.indices {
      if let payload = batch.payload(at: index) {
        if let shown = timeline.receive(payload, now: now) { output.append(shown) }
      } else {
        if let pending { timeline.settle(pending.bus) }
        pending = nil
      }
    }
    tellOtherApps(timeline)
    try await tell(output, show)
  }

  /// Shows what happened, and remembers what it means for the watch itself.
  private mutating func tell(_ output: [WatchOutput], _ show: Show) async throws {
    guard !output.isEmpty else { return }
    for item in output { learn(item) }
    try await show(output)
  }

  private mutating func learn(_ output: WatchOutput) {
    switch output {
    case .event(let event, _): learn(event.instance.beat)
    case .gap, .reset, .retracted: needsWhole = watcher.options.tellsWholes
    case .snapshot, .whole, .foreign, .message: break
    }
  }

  private mutating func tellOtherApps(_ timeline: Timeline) {
    for app in timeline.otherApps.subtracting(knownApps).sorted() {
      knownApps.insert(app)
      let isOneTooMany = knownApps.count > Timeline.mostOtherApps
      watcher.notify(isOneTooMany ? .manyOtherApps : .otherApp(app))
    }
  }

  private mutating func learn(_ other: Duration) {
    beat = max(beat, min(other, Self.longestBeat))
  }

  // MARK: Comparison and history

  private mutating func compare(
    _ timeline: inout Timeline, _ now: ContinuousClock.Instant
  ) async throws {
    nextComparison = now + Self.comparisonInterval
    let before = timeline.position
    let bus = try await BusState.read(keys: keys, on: query)
    if let other = bus.channel, other != channel {
      var error = RedisError.otherChannel(other, ofBus: keys.app)
      // Where none was asked for, the next connection listens to this one.
      if watcher.options.channel == nil { error.kind = .passing }
      throw error
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
    if now - turn > Self.lookInterval * 2 { lastHeard = now }
    guard let pending, now - max(pending.asked, lastHeard) > Self.longestSilence else { return }
    throw RedisError(
      .unreachable, "the subscription is silent", remedy: "check the network and the server")
  }

  private mutating func readHistory(_ timeline: inout Timeline, _ show: Show) async throws {
    guard let bus = try await BusState.read(keys: keys, on: query).position else {
      return try await tell(timeline.abandon(), show)
    }
    let (start, output) = timeline.begin(bus)
    try await tell(output, show)
    try await History(keys: keys).read(from: start, on: query) { page in
      try await tell(timeline.replay(page, bus: bus), show)
    }
    try await tell(timeline.finish(bus), show)
  }

  // MARK: Leases

  private mutating func look(_ now: ContinuousClock.Instant) async throws {
    nextLook = now + Self.lookInterval
    // Far enough ahead that whoever dies has been seen for a beat when its lease ends.
    let horizon = beat + Self.lookInterval * 2
    let asked = ContinuousClock.now
    var commands = [RedisCommand("TIME")]
    if reaper.isPermitted {
      let before = (clock?.now ?? 0) + horizon.milliseconds
      commands += [reaper.writeCommand, reaper.lookCommand(before: before)]
    }
    let replies = try await query.pipeline(commands)
    // A server that cannot even tell the time ends this, and with it whatever has been observed.
    guard let time = try (replies.first?.get()).flatMap(ServerClock.milliseconds) else { return }
    clock = ServerClock(time: time, asked: asked)
    if let write = replies.at(1), let leases = replies.at(2) {
      if reaper.takeWrite(write) {
        try await reaper.take(leases, asked: asked, now: time, on: query)
      }
      if !reaper.isPermitted { watcher.notify(.cannotReap) }
    }
    nextLook = min(now + Self.lookInterval, reaper.nextDue ?? now + Self.lookInterval)
    nextLook = max(nextLook, .now + .milliseconds(20))
  }
}
