import PaasbusRedis

/// Carries out what ``AnnouncerState`` decides, one step at a time.
extension Announcer {
  func carryOut(_ step: AnnouncerState.Step) async -> AnnouncerState.Outcome {
    do {
      return try await attempt(step)
    } catch {
      return PresenceError(error).map { .failed($0) } ?? .abandoned
    }
  }

  private func attempt(_ step: AnnouncerState.Step) async throws -> AnnouncerState.Outcome {
    switch step {
    case .connect(let limit): try await connect(within: limit)
    case .wait(let duration): try await connector.thread.sleep(for: duration)
    case .finish: break
    case .register, .beat, .tellDraining, .list, .prepareEnd, .renewKeys, .rest, .tellStop:
      guard let connection else { throw RedisError(.closed) }
      return try await attempt(step, on: connection)
    }
    return .done
  }

  private func connect(within limit: Duration?) async throws {
    var connector = connector
    if let limit { connector.timeout = limit }
    let fresh = try await connector.connect()
    guard !Task.isCancelled else {
      await fresh.close()
      throw CancellationError()
    }
    connection = fresh
    report.forget()
    beginLooking()
  }

  private func attempt(
    _ step: AnnouncerState.Step, on connection: RedisConnection
  ) async throws -> AnnouncerState.Outcome {
    let asked = ContinuousClock.now
    switch step {
    case .register(let instance, let lastChannel, let tellsReturn):
      let outcome = try await transitions.start(
        instance, elapsed: asked - began, channel: options.channel, lastChannel: lastChannel,
        history: options.history, tellsReturn: tellsReturn, on: connection)
      report.forget()
      return .registered(outcome, asked: asked)
    case .beat(let commands): return try await beat(commands, on: connection)
    case .rest(let due): try await rest(until: due, on: connection.limited(to: patience))
    case .tellDraining(let reason, _):
      _ = try await transitions.drain(state.instance.id, reason: reason, on: connection)
    case .list(let now): try await listApp(now, on: connection)
    case .prepareEnd: try await transitions.prepareEnd(on: connection)
    case .renewKeys: _ = try await connection.pipeline(keys.transition.map(Keys.renewal))
    case .tellStop(let instance, let stop, let lastChannel, let limit):
      _ = try await transitions.stop(
        instance, elapsed: asked - began, stop: stop, usage: report.last, lastChannel: lastChannel,
        on: connection.limited(to: limit))
    case .connect, .wait, .finish: break
    }
    return .done
  }

  // MARK: Beating

  /// Starts to observe the other instances again: what was observed before no longer counts.
  func beginLooking() {
    reaper = Reaper(keys: keys, ownID: state.instance.id, isReconnected: hasBeaten)
  }

  /// How long an answer may take. An answer that comes later than the next beat comes from a
  /// connection that is half dead, and a new connection can still renew the lease in time. The
  /// limit is later than the latest next beat, so that the timer for it does not wake the process
  /// while all is well.
  private var patience: Duration {
    let beat = state.instance.beat
    return connector.timeout < beat ? connector.timeout : max(beat * 1.15, .seconds(1))
  }

  /// Sends a beat, and with it a look at leases that are over.
  private func beat(
    _ commands: [RedisCommand], on connection: RedisConnection
  ) async throws -> AnnouncerState.Outcome {
    let connection = connection.limited(to: patience)
    // Before the clock is read, by which the replies are judged.
    let usage = report.commands(options.usage?())
    let asked = ContinuousClock.now
    hasBeaten = true
    guard var reaper, let clock = state.clock else { throw RedisError(.closed) }
    let look = reaper.overdueCommand(near: clock.now)
    let replies = try await connection.pipeline(commands + usage + [look])
    let answers = Array(replies.prefix(commands.count))
    report.receive(replies.dropFirst(commands.count).prefix(usage.count))
    // While our own beat is refused, those of other instances are refused too, so that time is not
    // counted against them.
    if answers.dropFirst().allSatisfy({ $0.integer == 1 }),
      let now = try ServerClock(answers.first, asked: asked)
    {
      try await reaper.receiveOverdue(replies.last ?? .null, now, on: connection)
      self.reaper = reaper
    }
    return .beaten(answers, asked: asked)
  }

  /// Waits for the next beat, and meanwhile looks at other instances whose lease is over, if there
  /// are any.
  private func rest(
    until due: ContinuousClock.Instant, on connection: RedisConnection
  ) async throws {
    while var reaper, let clock = state.clock, let look = reaper.nextLook, max(look, .now) < due {
      try await connection.sleep(for: max(.zero, look - .now))
      try await reaper.lookAgain(clock, on: connection)
      self.reaper = reaper
    }
    try await connection.sleep(for: max(.zero, due - .now))
  }

  // MARK: The list of apps

  /// Renews the app's entry in the list of apps, where a reader without `--app` finds it.
  private func listApp(_ now: Int64, on connection: RedisConnection) async throws {
    let oldest = now - Keys.timeToLive.milliseconds
    let commands = [
      RedisCommand("ZADD", Keys.apps, "\(now)", keys.app),
      RedisCommand("ZREMRANGEBYSCORE", Keys.apps, "-inf", "\(oldest)"),
      Keys.renewal(Keys.apps),
    ]
    guard case .error(let text)? = try await connection.pipeline(commands).first,
      RedisError.server(text).kind == .wrongServer
    else { return }
    // In a cluster the list has its own slot, which may be on another node. A failure there is
    // ignored, since it does not affect the instance.
    var other = connector.routed(to: Keys.apps)
    other.name = nil
    _ = try? await other.withConnection { try await $0.pipeline(commands) }
  }
}
