import PaasbusRedis

/// Being there: connecting, registering, beating, and looking at the others' leases meanwhile.
extension Announcer {
  func keepPresent() async throws {
    var backoff = Backoff(longest: min(.seconds(5), instance.beat * 0.5))
    var trouble: PresenceError?
    while !Task.isCancelled {
      do {
        if connection == nil { try await connect() }
        var clock = try await rejoin()
        if clock == nil { clock = try await register() } else { try await tellDraining() }
        guard let clock else { return }
        backoff.reset()
        // What the server refuses on a connection that there is, is over once it beats again.
        if let error = trouble, error.endsConnection {
          notify(.connectionBack)
          trouble = nil
        }
        try await beat(clock) {
          if trouble != nil { notify(.connectionBack) }
          trouble = nil
        }
      } catch {
        guard let error = PresenceError(error), !isEnding, !Task.isCancelled else { return }
        let isFirst = instance.started == nil
        if isFirst, options.failsWhenRefused, error.isFinal { throw error }
        settleFirstContact()
        if trouble == nil { notify(.connectionLost(error)) }
        trouble = error
        if error.endsConnection { await dropConnection() }
      }
      guard !isEnding else { return }
      try? await RedisConnector.sleep(for: backoff.next())
    }
  }

  private func settleFirstContact() {
    hasOutcome = true
    firstContact.continuation.finish()
  }

  private func dropConnection() async {
    guard !isEnding else { return }
    let broken = connection
    connection = nil
    await broken?.close()
  }

  private func connect() async throws {
    let fresh = try await connector.connect()
    // Once it ends, the connection is the stop's alone.
    guard !isEnding else { return await fresh.close() }
    connection = fresh
  }

  /// Beats at once on a new connection: where the server still knows the instance, there is nothing
  /// more to say, and nothing that waits for a script.
  ///
  /// - Returns: the server's clock; nil where the instance has to be registered (again).
  private func rejoin() async throws -> ServerClock? {
    guard !isEnding, instance.started != nil, let connection, let clock else { return nil }
    var heartbeat = Heartbeat(keys: keys, id: instance.id, lease: instance.lease, clock: clock)
    for _ in 0..<3 {
      let asked = ContinuousClock.now
      let replies = try await connection.pipeline(heartbeat.commands())
      switch try heartbeat.read(replies, asked: asked) {
      case .present: return heartbeat.clock
      case .forgotten: return nil
      case .stale: continue
      }
    }
    return nil
  }

  /// Says that the instance is there, whatever the server knows of it.
  ///
  /// - Returns: the server's clock; nil at the end.
  private func register() async throws -> ServerClock? {
    guard !isEnding, let connection else { return nil }
    let asked = ContinuousClock.now
    hasSentStart = true
    let isFirst = instance.started == nil
    let outcome = try await start(on: connection)
    let clock = ServerClock(time: outcome.now, asked: asked)
    self.clock = clock
    channel = outcome.channel ?? channel
    instance.started = outcome.started ?? instance.started
    try await tellDraining()
    try await listApp(clock, on: connection)
    if isFirst {
      notify(.announced(channel: channel ?? "", started: instance.started ?? outcome.now))
    }
    // Whoever waits to stop needs not wait for what makes later stops quick. A server that knows the
    // one script has got the others too.
    settleFirstContact()
    if !outcome.wasKnown { try await transitions.prepareEnd(on: connection) }
    return clock
  }

  /// Says that the instance drains, where it does; the bus tells it once.
  private func tellDraining() async throws {
    guard !isEnding, let drainReason, let connection else { return }
    _ = try await transitions.stopping(instance.id, reason: drainReason, on: connection)
  }

  /// A script that the server refuses has changed nothing, so there is nothing to take back either.
  private func start(on connection: RedisConnection) async throws -> Transitions.Outcome {
    // Once only: of one whose answer was lost, it is not known whether it was told.
    let tellsReturn = tellsReturn
    self.tellsReturn = false
    do {
      let outcome = try await transitions.start(
        instance, elapsed: .now - began, channel: options.channel, lastChannel: channel,
        history: options.history, tellsReturn: tellsReturn, on: connection)
      guard outcome.word != "channel" else {
        throw PresenceError.otherChannel(app: instance.app, channel: outcome.channel ?? "?")
      }
      return outcome
    } catch {
      guard PresenceError(error)?.endsConnection == false else { throw error }
      hasSentStart = instance.started != nil || options.succeeds
      self.tellsReturn = tellsReturn
      throw error
    }
  }

  /// Renews the app's place among those that announce, by which a reader without `--app` finds it.
  private func listApp(_ clock: ServerClock, on connection: RedisConnection) async throws {
    let oldest = clock.now - Keys.timeToLive.milliseconds
    let commands = [
      RedisCommand("ZADD", Keys.apps, "\(clock.now)", instance.app),
      RedisCommand("ZREMRANGEBYSCORE", Keys.apps, "-inf", "\(oldest)"),
      Self.renewal(Keys.apps),
    ]
    guard case .error(let text)? = try await connection.pipeline(commands).first,
      RedisError.server(text).kind == .elsewhere
    else { return }
    // In a cluster the list is in a slot of its own. A refusal is no matter of ours.
    var other = connector.routed(to: Keys.apps)
    other.name = nil
    _ = try? await other.withConnection { try await $0.pipeline(commands) }
  }

  private static func renewal(_ key: String) -> RedisCommand {
    RedisCommand("EXPIRE", key, "\(Keys.timeToLive.components.seconds)")
  }

  /// Beats until the connection fails or the end comes.
  private func beat(_ clock: ServerClock, onBeat: () -> Void) async throws {
    // An answer that is later than the next beat comes from a connection that is half dead; a new
    // one can still renew the lease in time. The end of our patience is behind the latest next beat,
    // so that a timer which was set for it wakes nobody.
    let longestBeat = max(instance.beat * 1.15, .seconds(1))
    let patience = connector.timeout < instance.beat ? connector.timeout : longestBeat
    guard let connection = connection?.limited(to: patience) else { return }
    var heartbeat = Heartbeat(
      keys: keys, id: instance.id, lease: instance.lease, clock: clock)
    var reaper = Reaper(keys: keys, ownID: instance.id, isReconnected: hasBeaten)
    hasBeaten = true
    var renewed = ContinuousClock.now
    while !isEnding {
      // From the last beat's sending on: what the server was slow with since does not count.
      let due = heartbeat.clock.asked + instance.beat * Double.random(in: 0.9...1.1)
      try await rest(until: due, heartbeat.clock, &reaper, on: connection)
      var finding = try await beatOnce(&heartbeat, &reaper, on: connection)
      // A second beat, now that the clock or the server's abilities are known.
      if finding == .stale { finding = try await beatOnce(&heartbeat, &reaper, on: connection) }
      self.clock = heartbeat.clock
      onBeat()
      if finding == .forgotten, let clock = try await register() { heartbeat.learn(clock) }
      if ContinuousClock.now - renewed > .seconds(3600) {
        renewed = .now
        _ = try await connection.pipeline(keys.transition.map(Self.renewal))
        try await listApp(heartbeat.clock, on: connection)
      }
    }
  }

  /// Waits for the next beat, and looks meanwhile at others whose lease is over, if there are any.
  private func rest(
    until due: ContinuousClock.Instant, _ clock: ServerClock, _ reaper: inout Reaper,
    on connection: RedisConnection
  ) async throws {
    while let look = reaper.nextLook, max(look, .now) < due, !isEnding {
      try await connection.sleep(for: max(.zero, look - .now))
      guard !isEnding else { return }
      try await reaper.lookAgain(clock, on: connection)
    }
    try await connection.sleep(for: max(.zero, due - .now))
  }

  private func beatOnce(
    _ heartbeat: inout Heartbeat, _ reaper: inout Reaper, on connection: RedisConnection
  ) async throws -> Heartbeat.Finding {
    guard !isEnding else { return .present }
    let asked = ContinuousClock.now
    let look = reaper.overdueCommand(near: heartbeat.clock.now)
    let replies = try await connection.pipeline(heartbeat.commands() + [look])
    let finding = try heartbeat.read(Array(replies.dropLast()), asked: asked)
    guard finding == .present, !isEnding else { return finding }
    try await reaper.takeOverdue(replies.last ?? .null, heartbeat.clock, on: connection)
    return finding
  }
}
