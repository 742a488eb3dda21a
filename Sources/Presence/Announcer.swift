import Redis

/// Publishes one instance: `start`, a heartbeat every third of the lease, and `stop`.
///
/// `run()` lasts until ``stop(reason:)`` is called; it uses one connection at a time and makes a
/// new one, for ever, when that is lost. The stop is sent from beside the heartbeats, on the same
/// connection, so that no command that hangs can delay it and none can overtake it.
public actor Announcer {
  public enum Notice: Sendable {
    case announced(channel: String)
    case connectionLost(RedisError)
    case connectionBack
  }

  public struct Options: Sendable {
    /// The channel asked for; nil for the bus's own.
    public var channel: String?
    /// How many events the bus is to keep; nil for as many as it does.
    public var history: Int?
    /// How long to try to deliver the `stop`.
    public var stopTimeout = Duration.seconds(3)
    /// Whether a refusal at the first contact ends `run()` with an error.
    public var failsWhenRefused = true
    /// Whether a stop waits for the outcome of the first contact, so that the shortest run is told
    /// too; else nothing is announced of it.
    public var tellsShortRuns = false

    public init() {}
  }

  /// Why an instance stops, and how the command ended that it is.
  public struct Stop: Sendable, Hashable {
    /// The signal that asked for it, or how it went by itself: `exit`, `signal`, `pid-gone`.
    public var reason: String
    /// The command's status as a shell tells it.
    public var exit: Int32?
    /// The signal that ended the command.
    public var signal: String?

    public init(reason: String, exit: Int32? = nil, signal: String? = nil) {
      self.reason = reason
      self.exit = exit
      self.signal = signal
    }
  }

  private enum Request: Sendable {
    case drain(reason: String)
    case stop(Stop, at: ContinuousClock.Instant)
  }

  public enum Ending: Sendable, Hashable {
    /// The `stop` is on the bus.
    case stopped
    /// Nothing had been announced, so there was nothing to take back.
    case neverAnnounced
    /// The `stop` could not be delivered; the lease will tell the others.
    case undelivered(RedisError)
  }

  private let keys: Keys
  private let transitions: Transitions
  private let connector: RedisConnector
  private let options: Options
  private let began: ContinuousClock.Instant
  private let notify: @Sendable (Notice) -> Void
  private let requests = AsyncStream<Request>.makeStream()
  /// Ends with the outcome of the first contact, whatever it is.
  private let firstContact = AsyncStream<Void>.makeStream()

  private var instance: Instance
  private var connection: RedisConnection?
  private var channel: String?
  /// Why it is draining; nil as long as it is not.
  private var drainReason: String?
  private var isEnding = false
  /// Whether a `start` has been written at all, whatever became of it.
  private var hasSentStart = false

  /// - Parameters:
  ///   - began: when the instance really began, by this machine's monotonic clock.
  ///   - notify: is told what a person may want to know, from any thread.
  public init(
    _ instance: Instance, connector: RedisConnector, options: Options = Options(),
    began: ContinuousClock.Instant = .now, notify: @escaping @Sendable (Notice) -> Void = { _ in }
  ) {
    keys = Keys(app: instance.app)
    transitions = Transitions(keys: keys)
    self.instance = instance
    var connector = connector
    connector.name = ConnectionProbe.namePrefix + instance.id
    self.connector = connector
    self.options = options
    self.began = began
    self.notify = notify
  }

  /// Publishes `stopping`, as soon as there is a connection; later calls change nothing.
  public nonisolated func drain(reason: String) {
    requests.continuation.yield(.drain(reason: reason))
  }

  /// Ends `run()` with a `stop`; later calls change nothing.
  public nonisolated func stop(_ stop: Stop) {
    requests.continuation.yield(.stop(stop, at: .now))
    requests.continuation.finish()
  }

  public nonisolated func stop(reason: String) { stop(Stop(reason: reason)) }

  /// Announces the instance until it is told to stop.
  ///
  /// - Throws: `RedisError` when the first contact is refused for good (kinds `refused`,
  ///   `configuration`, `nonsense`, `tls`), unless the options say otherwise.
  public func run() async throws -> Ending {
    try await withThrowingTaskGroup(of: (Stop, ContinuousClock.Instant)?.self) { group in
      group.addTask { await self.takeRequests() }
      group.addTask {
        try await self.keepPresent()
        return nil
      }
      let (stop, time) = (try await group.next() ?? nil) ?? (Stop(reason: "exit"), .now)
      isEnding = true
      group.cancelAll()
      return await end(stop, deadline: time + options.stopTimeout)
    }
  }

  private func takeRequests() async -> (Stop, ContinuousClock.Instant)? {
    for await request in requests.stream {
      switch request {
      case .drain(let reason): await startDraining(reason)
      case .stop(let stop, let time):
        if options.tellsShortRuns { await awaitFirstContact(until: time + options.stopTimeout) }
        return (stop, time)
      }
    }
    return nil
  }

  private func awaitFirstContact(until deadline: ContinuousClock.Instant) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [firstContact] in for await _ in firstContact.stream {} }
      group.addTask { try? await Task.sleep(until: deadline) }
      await group.next()
      group.cancelAll()
    }
  }

  /// From beside the heartbeats, so that nothing delays it; where it fails, the next registration
  /// says it again.
  private func startDraining(_ reason: String) async {
    guard drainReason == nil else { return }
    drainReason = reason
    guard instance.started != nil, let connection else { return }
    // A stop that is asked for meanwhile must not wait for long.
    _ = try? await transitions.stopping(
      instance.id, reason: reason, on: connection.limited(to: options.stopTimeout * 0.25))
  }

  // MARK: Presence

  private func keepPresent() async throws {
    var backoff = Backoff(longest: min(.seconds(5), instance.beat * 0.5))
    var trouble: RedisError?
    while !Task.isCancelled {
      do {
        if connection == nil { try await connect() }
        guard let clock = try await register() else { return }
        firstContact.continuation.finish()
        if trouble != nil { notify(.connectionBack) }
        trouble = nil
        backoff.reset()
        try await beat(clock)
      } catch let error as RedisError where !isEnding && !Task.isCancelled {
        let isFirst = instance.started == nil
        if isFirst, options.failsWhenRefused, error.isFinal { throw error }
        firstContact.continuation.finish()
        if trouble == nil { notify(.connectionLost(error)) }
        trouble = error
        if error.endsConnection { await dropConnection() }
      }
      guard !isEnding else { return }
      try? await Task.sleep(for: backoff.next())
    }
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

  /// Says that the instance is there, whatever the server knows of it.
  ///
  /// - Returns: the server's clock; nil at the end.
  private func register() async throws -> ServerClock? {
    guard !isEnding, let connection else { return nil }
    let asked = ContinuousClock.now
    hasSentStart = true
    let isFirst = instance.started == nil
    let outcome = try await transitions.start(
      instance, elapsed: .now - began, channel: options.channel, lastChannel: channel,
      history: options.history, on: connection)
    if outcome.word == "channel" {
      throw RedisError.otherChannel(outcome.channel ?? "?", ofBus: instance.app)
    }
    let clock = ServerClock(time: outcome.now, asked: asked)
    channel = outcome.channel ?? channel
    instance.started = outcome.started ?? instance.started
    if let drainReason {
      _ = try await transitions.stopping(instance.id, reason: drainReason, on: connection)
    }
    // In a slot of its own on a cluster, so no matter for the script; nor is a refusal one of ours.
    let oldest = outcome.now - Keys.timeToLive.milliseconds
    _ = try await connection.pipeline(
      [
        RedisCommand("ZADD", Keys.apps, "\(outcome.now)", instance.app),
        RedisCommand("ZREMRANGEBYSCORE", Keys.apps, "-inf", "\(oldest)"),
      ] + renewal([Keys.apps]))
    if isFirst { notify(.announced(channel: channel ?? "")) }
    return clock
  }

  private func renewal(_ names: [String]) -> [RedisCommand] {
    let seconds = "\(Keys.timeToLive.components.seconds)"
    return names.map { RedisCommand("EXPIRE", $0, seconds) }
  }

  private func beat(_ clock: ServerClock) async throws {
    // An answer that is later than the next beat comes from a connection that is half dead; a new
    // one can still renew the lease in time.
    let patience = min(connector.timeout, max(instance.beat, .seconds(1)))
    guard let connection = connection?.limited(to: patience) else { return }
    var heartbeat = Heartbeat(
      keys: keys, id: instance.id, lease: instance.lease, clock: clock)
    var reaper = Reaper(keys: keys, ownID: instance.id)
    var renewed = ContinuousClock.now
    while !isEnding {
      // From the last beat's sending on: what the server was slow with since does not count.
      let due = heartbeat.clock.asked + instance.beat * Double.random(in: 0.9...1.1)
      try await connection.sleep(for: max(.zero, due - .now))
      var finding = try await beatOnce(&heartbeat, &reaper, on: connection)
      // A second beat, now that the clock or the server's abilities are known.
      if finding == .stale { finding = try await beatOnce(&heartbeat, &reaper, on: connection) }
      if finding == .forgotten, let clock = try await register() { heartbeat.learn(clock) }
      if ContinuousClock.now - renewed > .seconds(3600) {
        renewed = .now
        _ = try await connection.pipeline(renewal(keys.transition + [Keys.apps]))
      }
    }
  }

  private func beatOnce(
    _ heartbeat: inout Heartbeat, _ reaper: inout Reaper, on connection: RedisConnection
  ) async throws -> Heartbeat.Finding {
    guard !isEnding else { return .present }
    let asked = ContinuousClock.now
    let replies = try await connection.pipeline(heartbeat.commands() + [look(reaper, heartbeat)])
    let finding = try heartbeat.read(Array(replies.dropLast()), asked: asked)
    guard finding == .present, !isEnding else { return finding }
    try await reaper.take(
      replies.last ?? .null, asked: asked, now: heartbeat.clock.now, on: connection)
    if let confirmation = reaper.confirmation {
      try await connection.sleep(for: max(.zero, confirmation - .now))
      let asked = ContinuousClock.now
      let reply = try await connection.pipeline([look(reaper, heartbeat)]).first ?? .null
      try await reaper.take(reply, asked: asked, now: heartbeat.clock.now, on: connection)
    }
    return finding
  }

  private func look(_ reaper: Reaper, _ heartbeat: Heartbeat) -> RedisCommand {
    reaper.lookCommand(before: heartbeat.clock.now + instance.beat.milliseconds)
  }

  // MARK: The end

  private func end(_ stop: Stop, deadline: ContinuousClock.Instant) async -> Ending {
    guard hasSentStart else { return .neverAnnounced }
    var backoff = Backoff(longest: .milliseconds(500))
    var failure = RedisError.noTime
    while true {
      let left = deadline - .now
      guard left > .zero else { return .undelivered(failure) }
      do {
        // Half of what is left, so that a connection that hangs leaves time for a new one.
        let connection = try await currentConnection(within: left * 0.5)
        _ = try await transitions.stop(
          instance, elapsed: .now - began, stop: stop, lastChannel: channel,
          on: connection.limited(to: left * 0.5))
        await connection.close()
        return .stopped
      } catch {
        failure = error as? RedisError ?? failure
        await connection?.close()
        connection = nil
        try? await Task.sleep(for: min(backoff.next(), max(.zero, deadline - .now)))
      }
    }
  }

  private func currentConnection(within limit: Duration) async throws -> RedisConnection {
    if let connection { return connection }
    var connector = connector
    connector.timeout = limit
    return try await connector.connect()
  }
}

extension RedisError {
  /// A new connection is called for; other refusals are waited out on the one that there is, so
  /// that nobody takes its absence for ours.
  fileprivate var endsConnection: Bool {
    kind == .unreachable || kind == .nonsense || kind == .tls || problem.contains("READONLY")
  }

  /// Trying the same again cannot help.
  var isFinal: Bool { !isTransient && kind != .server }

  fileprivate static var noTime: RedisError {
    RedisError(.unreachable, "no time was left", remedy: "allow more with --stop-timeout")
  }
}
