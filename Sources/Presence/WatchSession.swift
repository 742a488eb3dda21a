import Redis

/// One connected stretch of a watch: takes messages, compares with the bus, reads the history,
/// and looks at the leases, one after the other, so that nothing needs a lock.
struct WatchSession {
  typealias Show = ([WatchOutput]) async throws -> Void

  /// How often the position is compared with the bus, with a PING on the subscription.
  private static let comparisonInterval = Duration.seconds(5)
  /// How long after a PING the silence of the subscription counts as its death.
  private static let longestSilence = Duration.milliseconds(4500)
  private static let historyInterval = Duration.milliseconds(100)
  private static let lookInterval = Duration.seconds(1)

  private let watcher: Watcher
  private let channel: String
  private let query: RedisConnection
  private let subscription: RedisSubscription
  private var clock: ServerClock?
  private var keys = Keys(app: "")
  private var reaper = Reaper(keys: Keys(app: ""))
  private var knownApps: Set<String> = []
  /// The longest heartbeat interval that has been seen: how far ahead leases are looked at.
  private var longestBeat = Duration.seconds(5)

  private var nextComparison = ContinuousClock.now
  private var nextLook = ContinuousClock.now
  private var nextHistory = ContinuousClock.now
  /// The comparison that waits for its pong: what the bus said, and when it was asked.
  private var pending: (bus: Position?, asked: ContinuousClock.Instant)?
  private var lastHeard = ContinuousClock.now

  init(
    _ watcher: Watcher, _ channel: String, _ query: RedisConnection,
    _ subscription: RedisSubscription
  ) {
    self.watcher = watcher
    self.channel = channel
    self.query = query
    self.subscription = subscription
  }

  /// Shows all that is to be shown, until the connection fails or the task is cancelled.
  mutating func run(_ timeline: inout Timeline?, app: String?, _ show: Show) async throws {
    if timeline == nil {
      guard let app else { return try await wait(&timeline, show) }
      timeline = try await begin(app, show)
      watcher.notify(.watching(app: app, channel: channel))
    }
    try await follow(&timeline, show)
  }

  /// Waits for the first app that anybody announces on, and follows its bus from the beginning.
  private mutating func wait(_ timeline: inout Timeline?, _ show: Show) async throws {
    watcher.notify(.waitingForBus)
    while let batch = try await subscription.nextBatch(within: Self.lookInterval) {
      // The message comes before the list knows the app; a bus on another channel is only there.
      let messages = batch.compactMap(\.payload)
      let announced = messages.lazy.compactMap { Event(decoding: $0)?.instance.app }.first
      let asked = ContinuousClock.now
      let replies = try await query.pipeline([
        RedisCommand("TIME"), RedisCommand("ZRANGE", Keys.apps, "0", "0"),
      ])
      clock = replies.first.flatMap(ServerClock.milliseconds)
        .map { ServerClock(time: $0, asked: asked) }
      guard let app = announced ?? replies.at(1)?.elements.first?.string else {
        var nobody = Timeline(app: "", position: nil)
        let output = messages.flatMap { nobody.receive($0, now: clock?.now ?? 0) }
        if !output.isEmpty { try await show(output) }
        continue
      }
      var found = Timeline(app: app, position: nil)
      if announced == nil { found.connectionWasLost() }
      timeline = found
      watcher.notify(.watching(app: app, channel: channel))
      keys = Keys(app: app)
      try await receive(batch, &found, show)
      timeline = found
      return try await follow(&timeline, show)
    }
  }

  /// Shows the history asked for and the snapshot.
  private mutating func begin(_ app: String, _ show: Show) async throws -> Timeline {
    keys = Keys(app: app)
    let asked = ContinuousClock.now
    let snapshot = try await Snapshot.read(keys: keys, on: query)
    clock = ServerClock(time: snapshot.now, asked: asked)
    if let since = watcher.options.since, let end = snapshot.position {
      let earliest = since.earliest(now: snapshot.now)
      try await History(keys: keys).read(through: end, on: query) { page in
        try await show(page.compactMap { $0.output(notBefore: earliest) })
      }
    }
    let present = snapshot.instances.filter(\.isPresent)
    for status in present { longestBeat = max(longestBeat, status.instance.beat) }
    if watcher.options.showsSnapshot { try await show(present.map { .snapshot($0) }) }
    return Timeline(app: keys.app, position: snapshot.position)
  }

  /// Shows what happens, until the connection fails or the task is cancelled.
  private mutating func follow(_ timeline: inout Timeline?, _ show: Show) async throws {
    guard var current = timeline else { return }
    keys = Keys(app: current.app)
    reaper = Reaper(keys: keys)
    // Whatever ends this, what has been shown stays known.
    defer { timeline = current }
    while !Task.isCancelled {
      let now = ContinuousClock.now
      if current.needsHistory, now >= nextHistory {
        nextHistory = now + Self.historyInterval
        try await readHistory(&current, show)
      }
      if now >= nextLook { try await look(now) }
      if let next = reaper.nextProbe, now >= next {
        try await reaper.lookAtConnections(on: query)
      }
      if now >= nextComparison { try await compare(&current, now) }
      try checkSilence(now)
      guard let batch = try await subscription.nextBatch(within: untilNext(current)) else { return }
      try await receive(batch, &current, show)
    }
  }

  private func untilNext(_ timeline: Timeline) -> Duration {
    var next = min(nextComparison, nextLook)
    if timeline.needsHistory { next = min(next, nextHistory) }
    if let probe = reaper.nextProbe { next = min(next, probe) }
    return max(.zero, next - .now)
  }

  private mutating func receive(
    _ batch: [RedisPush], _ timeline: inout Timeline, _ show: Show
  ) async throws {
    guard !batch.isEmpty else { return }
    lastHeard = .now
    var output: [WatchOutput] = []
    for push in batch {
      switch push {
      case .message(let message):
        output += timeline.receive(message.payload, now: clock?.now ?? 0)
      case .pong:
        if let pending { timeline.settle(pending.bus) }
        pending = nil
      }
    }
    for app in timeline.otherApps.subtracting(knownApps) { watcher.notify(.otherApp(app)) }
    knownApps = timeline.otherApps
    for case .event(let event, _) in output { longestBeat = max(longestBeat, event.instance.beat) }
    if !output.isEmpty { try await show(output) }
  }

  // MARK: Comparison and history

  private mutating func compare(_ timeline: inout Timeline, _ now: ContinuousClock.Instant)
    async throws
  {
    nextComparison = now + Self.comparisonInterval
    let before = timeline.position
    let bus = try await BusState.read(keys: keys, on: query)
    if let other = bus.channel, other != channel {
      throw RedisError(
        watcher.options.channel == nil ? .passing : .configuration,
        "the bus \(keys.app) now uses the channel \(other)", remedy: "leave --channel away")
    }
    timeline.compare(bus.position, shownBefore: before)
    pending = (bus.position, now)
    subscription.ping()
  }

  private func checkSilence(_ now: ContinuousClock.Instant) throws {
    guard let pending, now - max(pending.asked, lastHeard) > Self.longestSilence else { return }
    throw RedisError(
      .unreachable, "the subscription is silent", remedy: "check the network and the server")
  }

  private mutating func readHistory(_ timeline: inout Timeline, _ show: Show) async throws {
    guard let bus = try await BusState.read(keys: keys, on: query).position else {
      return try await show(timeline.abandon())
    }
    let history = History(keys: keys)
    let unconfirmed = timeline.unconfirmed
    let (start, output) = timeline.begin(bus)
    if !output.isEmpty { try await show(output) }
    try await history.read(from: start, on: query) { page in
      let output = timeline.replay(page, bus: bus)
      if !output.isEmpty { try await show(output) }
    }
    let confirmed = try await history.entries(at: unconfirmed, on: query)
    let rest = timeline.finish(bus, confirmed: confirmed)
    if !rest.isEmpty { try await show(rest) }
  }

  // MARK: Leases

  private mutating func look(_ now: ContinuousClock.Instant) async throws {
    let horizon = (clock?.now ?? 0) + longestBeat.milliseconds
    let asked = ContinuousClock.now
    var commands = [RedisCommand("TIME")]
    if reaper.isPermitted {
      commands += [reaper.writeCommand, reaper.lookCommand(before: horizon)]
    }
    let replies = try await query.pipeline(commands)
    guard let time = replies.first.flatMap(ServerClock.milliseconds) else { return }
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

extension InstanceStatus {
  /// Whether it is there, or was never said to have gone.
  public var isPresent: Bool { state == .up || state == .stopping || state == .overdue }
}

extension Watcher.Since {
  /// The first moment that counts, in ms by the server's clock.
  func earliest(now: Int64) -> Int64 {
    switch self {
    case .beginning: 0
    case .ago(let duration): max(0, now - min(duration.milliseconds, now))
    }
  }
}

extension HistoryEntry {
  /// What a replay shows of it; nil for what happened before `earliest` (ms).
  func output(notBefore earliest: Int64) -> WatchOutput? {
    guard let event = Event(decoding: bytes) else { return .message(Timeline.text(bytes)) }
    return event.at >= earliest ? .event(event, .replay) : nil
  }
}
