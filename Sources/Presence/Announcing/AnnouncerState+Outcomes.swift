import PaasbusRedis

/// Takes the outcomes of the steps.
extension AnnouncerState {
  mutating func receive(_ outcome: Outcome, of step: Step, at now: Instant) {
    switch (outcome, step) {
    case (.failed(let error), _): fail(error, step, now)
    case (.registered(let outcome, let asked), _): registered(outcome, asked: asked, step, now)
    case (.beaten(let replies, let asked), _): beaten(replies, asked: asked, step, now)
    case (.done, .connect): connected(now)
    case (_, .tellDraining): hasToldDraining = true
    case (.done, .list): listed()
    case (.done, .prepareEnd): mustPrepareEnd = false
    case (.done, .renewKeys): (renewed, mustList) = (now, true)
    case (.done, .tellStop): end?.isDelivered = true
    case (.done, _), (.abandoned, _): break
    }
  }

  private mutating func connected(_ now: Instant) {
    link = .fresh
    (staleBeats, renewed) = (0, now)
    heartbeat = clock.map {
      Heartbeat(keys: keys, id: instance.id, lease: instance.lease, clock: $0)
    }
  }

  private mutating func registered(
    _ outcome: Transitions.Outcome, asked: Instant, _ step: Step, _ now: Instant
  ) {
    guard outcome.word != "channel" else {
      let error = PresenceError.otherChannel(
        app: instance.app, channel: outcome.channel ?? "?")
      return fail(error, step, now)
    }
    let clock = ServerClock(time: outcome.now, asked: asked, answered: now)
    self.clock = clock
    var beating =
      heartbeat
      ?? Heartbeat(keys: keys, id: instance.id, lease: instance.lease, clock: clock)
    beating.learn(clock)
    heartbeat = beating
    channel = outcome.channel ?? channel
    instance.started = outcome.started ?? instance.started ?? outcome.now
    (isForgotten, hasToldDraining, mustList) = (false, false, true)
    mustPrepareEnd = mustPrepareEnd || !outcome.wasKnown
    // The bus knows the instance again, so the user is told that the connection is back.
    if trouble?.endsConnection == true { recover() }
    join()
  }

  private mutating func beaten(
    _ replies: [RedisValue], asked: Instant, _ step: Step, _ now: Instant
  ) {
    guard var beating = heartbeat else { return }
    let finding: Heartbeat.Finding
    do {
      finding = try beating.read(replies, asked: asked, answered: now)
    } catch {
      return fail(PresenceError(error) ?? .redis(RedisError(.closed)), step, now)
    }
    (heartbeat, clock) = (beating, beating.clock)
    switch finding {
    case .present:
      // A refusal that left the connection open is over once a beat is accepted again.
      if link == .joined { recover() }
      join()
    case .forgotten: isForgotten = true
    case .stale:
      // The beat is sent again at once, now that the clock or the server's abilities are known.
      staleBeats += 1
      guard staleBeats > 2 else {
        due = now
        return
      }
      if link == .fresh { isForgotten = true }
      join()
    }
  }

  /// The server knows the instance on this connection.
  private mutating func join() {
    if link == .fresh { hasToldDraining = false }
    (link, staleBeats) = (.joined, 0)
    // The time counts from when the last beat was sent, so that a slow answer does not delay the
    // next beat.
    due = (clock?.asked ?? due) + instance.beat * Double.random(in: 0.9...1.1)
  }

  /// Everything that was to be sent on this connection has been sent and accepted.
  mutating func settle() {
    if trouble?.endsConnection == true { recover() }
    backoff.reset()
  }

  private mutating func recover() {
    if trouble != nil { notices.append(.connectionBack) }
    (trouble, toldTrouble) = (nil, nil)
  }

  /// The user is told only now, so that a reader which is started after that finds the app in the
  /// list.
  private mutating func listed() {
    mustList = false
    hasOutcome = true
    guard !hasAnnounced else { return }
    hasAnnounced = true
    notices.append(
      .announced(channel: channel ?? "", started: instance.started ?? clock?.now ?? 0))
  }

  private mutating func fail(_ error: PresenceError, _ step: Step, _ now: Instant) {
    if case .register = step, !error.endsConnection {
      // A script that the server refuses has changed nothing, so it needs no `stop` either.
      hasSentStart = hadSentStart
      tellsReturn = options.succeeds && !hasAnnounced
    }
    if end != nil, isEnding(at: now) { return failAtEnd(error, now) }
    if instance.started == nil, options.failsWhenRefused, error.isFinal {
      refusal = error
      return
    }
    hasOutcome = true
    if error.adds(to: toldTrouble) {
      notices.append(.connectionLost(error))
      toldTrouble = error
    }
    trouble = error
    if error.endsConnection { link = .none } else if link == .joined { link = .fresh }
    retryAt = now + backoff.next()
  }

  private mutating func failAtEnd(_ error: PresenceError, _ now: Instant) {
    // A time-out is not kept as the reason, since it only tells how long the attempt had.
    if !error.isTimeout { end?.failure = error }
    link = .none
    retryAt = now + (end?.backoff.next() ?? .zero)
  }
}
