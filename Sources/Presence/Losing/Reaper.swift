import PaasbusRedis

/// Asks the server what the observers of leases and connections want to know, and declares lost the instances
/// that they found. Many reapers may look at once; the script publishes one `lost`.
struct Reaper: Sendable {
  /// An announcer's look asks for fewer leases than a watcher's, since there may be thousands of announcers.
  private static let maxOverdue = 50
  /// About this many announcers of a bus go on looking at leases that are over.
  private static let announcersLooking = 10.0
  static let lookInterval = Duration.seconds(1)
  /// What is due so soon is asked together with what is due now.
  private static let slack = Duration.milliseconds(50)
  /// One in so many of a watcher's looks also asks for leases that end later than any lease can, which happens only
  /// where the server's clock went back.
  private static let looksBetweenLate = 10
  /// How long after a look its reap may still be carried out by the server, in ms.
  private static let validity: Int64 = 1000

  private let keys: Keys
  private let transitions: Transitions
  /// Never reaped, since an announcer does not declare itself lost.
  private let ownID: String?
  private var time: ObservedTime
  private var observer = LeaseObserver()
  private var probe = ConnectionProbe()
  /// When to look again; nil if there is nothing to look at.
  private(set) var nextLook: ContinuousClock.Instant?
  private var looksSinceLate = 0
  /// Whether this announcer was chosen by chance to look each second.
  private var isDrawn = false
  /// Whether the server lets us write; a reader without permission reaps nothing.
  private(set) var isPermitted = true

  /// - Parameter isReconnected: whether it follows a lost connection.
  init(keys: Keys, ownID: String? = nil, isReconnected: Bool) {
    self.keys = keys
    transitions = Transitions(keys: keys)
    self.ownID = ownID
    time = ObservedTime(isReconnected: isReconnected)
  }

  // MARK: A watcher's looks

  /// Looks at what is due: the leases, the connections, or both in one question.
  ///
  /// - Parameters:
  ///   - now: about what the server's time is, in ms.
  ///   - beat: the longest beat on this bus.
  ///   - readsAll: whether to look at all leases, for a reader who wants to see them.
  /// - Returns: the leases that were looked at; nil where the server told none or they were not due.
  /// - Throws: `RedisError` where the connection failed.
  mutating func look(
    near now: Int64, beat: Duration, readsAll: Bool, on connection: RedisConnection
  ) async throws -> Leases? {
    let instant = ContinuousClock.now
    let soon = instant + Self.slack
    let question = soon >= nextLook ?? instant ? question(near: now, beat, readsAll) : nil
    let listsConnections = nextProbe.map { soon >= $0 } ?? false
    let questions = question?.commands(keys) ?? []
    let list = listsConnections ? [RedisCommand("CLIENT", "LIST")] : []
    let replies = try await connection.pipeline(questions + list)
    let answered = ContinuousClock.now
    var found: Leases?
    if let question {
      nextLook = SharedTick.last(within: Self.lookInterval, of: instant)
      found = try await judge(
        question, replies.prefix(questions.count), asked: instant, answered, on: connection)
      if isPermitted, time.stretch != nil {
        if let due = observer.nextDue { nextLook = min(nextLook ?? due, due) }
        // From here on, a look also tries whether the server takes writes.
        if observer.isAwaitingBeats, !question.tries { nextLook = .now }
      }
    }
    if listsConnections, let reply = replies.last {
      try await receiveConnections(reply, asked: instant, on: connection)
    }
    return found
  }

  private mutating func question(near now: Int64, _ beat: Duration, _ readsAll: Bool)
    -> LeaseQuestion
  {
    // The first look tells whether we may write.
    let tries = isPermitted && (observer.isAwaitingBeats || nextLook == nil)
    guard !readsAll else { return LeaseQuestion(.all, tries: tries, near: now, beat: beat) }
    let withLate = looksSinceLate % Self.looksBetweenLate == 0
    looksSinceLate += 1
    return LeaseQuestion(.due(withLate: withLate), tries: tries, near: now, beat: beat)
  }

  private mutating func judge(
    _ question: LeaseQuestion, _ replies: ArraySlice<RedisValue>, asked: ContinuousClock.Instant,
    _ answered: ContinuousClock.Instant, on connection: RedisConnection
  ) async throws -> Leases? {
    // Without the server's time, nothing observed so far counts.
    guard let clock = try ServerClock(replies.first, asked: asked, answered: answered) else {
      time.interrupt()
      return nil
    }
    let isAnswered = replies.dropFirst().allSatisfy { accept($0) }
    let ends = question.ends(replies)
    if isAnswered, isPermitted {
      let observed = question.observed(ends)
      // They are looked at each time as long as there are any.
      if observed.values.contains(where: question.isLate) { looksSinceLate = 0 }
      try await judge(observed, clock, on: connection)
    }
    return Leases(ends: ends, clock: clock)
  }

  /// Whether a command succeeded; if not, the time does not count.
  private mutating func accept(_ reply: RedisValue) -> Bool {
    guard case .error(let text) = reply else { return true }
    if RedisError.server(text).kind == .refused { isPermitted = false }
    time.interrupt()
    return false
  }

  // MARK: An announcer's looks

  /// The command of a look at the leases that are over, at about this time of the server's (ms).
  func overdueCommand(near now: Int64) -> RedisCommand {
    RedisCommand(
      "ZRANGEBYSCORE", keys.leases, "-inf", "(\(now)", "WITHSCORES", "LIMIT", "0",
      "\(Self.maxOverdue)")
  }

  /// Receives its reply, which came with the server's time. If leases are over, chance decides whether this
  /// announcer looks at them each second or leaves them to others.
  ///
  /// - Throws: `RedisError` where the connection failed.
  mutating func receiveOverdue(
    _ reply: RedisValue, _ clock: ServerClock, on connection: RedisConnection
  ) async throws {
    nextLook = nil
    guard isPermitted, accept(reply) else { return }
    var ends = Snapshot.scores(reply.elements)
    if let ownID { ends[ownID] = nil }
    if ends.isEmpty {
      isDrawn = false
    } else if !isDrawn {
      isDrawn = try await isDrawnNow(found: ends.count, on: connection)
    }
    guard isDrawn || ends.isEmpty else { return }
    try await judge(ends, clock, on: connection)
    guard isDrawn else { return }
    let next = clock.asked + Self.lookInterval
    nextLook = min(next, observer.nextDue ?? next)
  }

  /// Looks once more at what is over.
  ///
  /// - Parameter clock: the server's, as it was last told.
  /// - Throws: `RedisError` where the connection failed.
  mutating func lookAgain(_ clock: ServerClock, on connection: RedisConnection) async throws {
    nextLook = nil
    let asked = ContinuousClock.now
    let replies = try await connection.pipeline([
      RedisCommand("TIME"), overdueCommand(near: clock.now),
    ])
    guard let clock = try ServerClock(replies.first, asked: asked) else {
      return time.interrupt()
    }
    try await receiveOverdue(replies.at(1) ?? .null, clock, on: connection)
  }

  /// Chooses with probability min(1, ``announcersLooking``/instances). If many leases are over, chance mostly
  /// says no before the server is asked how many instances there are.
  private func isDrawnNow(found: Int, on connection: RedisConnection) async throws -> Bool {
    let chance = Double.random(in: 1e-6..<1)
    let rank = Int(Self.announcersLooking / chance)
    guard rank > found else { return false }
    let reply = try await connection.pipeline([
      RedisCommand("ZRANGE", keys.leases, "\(rank)", "\(rank)")
    ]).first
    return reply?.elements.isEmpty ?? false
  }

  // MARK: Judging

  private mutating func judge(
    _ ends: [String: Int64], _ clock: ServerClock, on connection: RedisConnection
  ) async throws {
    time.add(clock.look(slowAnswers: connection.slowAnswers), isCalm: clock.isBefore(ends))
    var ends = ends
    let unaccounted = observer.unaccounted(ends, in: time)
    for (id, end) in try await leaseEnds(of: unaccounted, on: connection) { ends[id] = end }
    let lengths = try await leases(of: observer.unknown(ends), on: connection)
    try await reap(
      observer.look(ends, lengths: lengths, in: time), reason: "lease", on: connection)
  }

  private mutating func reap(
    _ lost: [LeaseObserver.Lost], reason: String, on connection: RedisConnection
  ) async throws {
    guard let now = time.stretch?.last.time else { return }
    for lost in lost.sorted(by: { $0.end < $1.end }) {
      do {
        _ = try await transitions.reap(
          lost, latest: now + Self.validity, reason: reason, on: connection)
      } catch let error as RedisError where error.kind == .refused {
        isPermitted = false
        return
      } catch let error as RedisError where error.kind == .unavailable {
        // It takes no writes just now, so no instance could renew its lease either.
        return time.interrupt()
      }
    }
  }

  private func leases(
    of ids: [String], on connection: RedisConnection
  ) async throws -> [String: Int64] {
    guard !ids.isEmpty else { return [:] }
    let reply = try await connection.send(RedisCommand(["HMGET", keys.instances] + ids))
    var leases: [String: Int64] = [:]
    for (id, record) in zip(ids, reply.elements) {
      guard let stored = record.bytes, let start = stored.firstIndex(of: 0x7B) else { continue }
      leases[id] = Instance.decode(stored[start...])?.lease
    }
    return leases
  }

  private func leaseEnds(
    of ids: [String], on connection: RedisConnection
  ) async throws -> [String: Int64] {
    guard !ids.isEmpty else { return [:] }
    let scores = try await connection.pipeline(
      ids.map { RedisCommand("ZSCORE", keys.leases, $0) })
    return Dictionary(uniqueKeysWithValues: zip(ids, scores.map(Snapshot.time))).compactMapValues {
      $0
    }
  }

  // MARK: Connections

  /// For a server that does not list its clients.
  mutating func turnProbeOff() { probe.turnOff() }

  /// When to look at the server's connections again; nil where that is of no use.
  var nextProbe: ContinuousClock.Instant? { probe.isOn && isPermitted ? probe.nextLook : nil }

  /// Receives the list of the server's connections, and reaps instances whose connection is gone.
  ///
  /// - Parameter listed: when it was asked for.
  /// - Throws: `RedisError` where the connection failed.
  private mutating func receiveConnections(
    _ reply: RedisValue, asked listed: ContinuousClock.Instant, on connection: RedisConnection
  ) async throws {
    guard let text = reply.string else { return try handleRefusal(reply) }
    let missing = probe.list(text, at: listed)
    guard !missing.isEmpty else { return }
    let asked = ContinuousClock.now
    let replies = try await connection.pipeline(
      [RedisCommand("TIME"), LeaseQuestion.trial(keys)]
        + missing.map { RedisCommand("ZSCORE", keys.leases, $0) })
    guard let clock = try ServerClock(replies.first, asked: asked) else {
      return time.interrupt()
    }
    guard accept(replies.at(1) ?? .null) else { return }
    time.add(clock.look(slowAnswers: connection.slowAnswers), isCalm: true)
    let ends = zip(missing, replies.dropFirst(2)).map { (id: $0, end: Snapshot.time($1)) }
    try await reap(
      probe.look(ends, asked: listed, in: time), reason: "connection", on: connection)
  }

  /// Stops looking at connections where listing them is refused for good.
  private mutating func handleRefusal(_ reply: RedisValue) throws {
    do {
      try reply.get()
    } catch let error as RedisError where error.isTransient {
      throw error
    } catch {}
    probe.turnOff()
  }
}

extension ServerClock {
  /// The answer as a look.
  fileprivate func look(slowAnswers: Int) -> ObservedTime.Look {
    ObservedTime.Look(asked: asked, answered: answered, time: time, slowAnswers: slowAnswers)
  }

  /// Whether no lease is over.
  fileprivate func isBefore(_ ends: [String: Int64]) -> Bool {
    ends.values.allSatisfy { $0 >= time }
  }
}
