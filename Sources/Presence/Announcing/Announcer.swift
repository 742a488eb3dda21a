import PaasbusRedis

/// Publishes one instance: `start`, a heartbeat every third of the lease, and `stop`.
///
/// `run()` lasts until ``stop(reason:)`` is called; it uses one connection at a time and makes a
/// new one, for ever, when that is lost. The decisions are those of ``AnnouncerState``, one step after the
/// other. A stop gives up whatever is waited for and is sent on the same connection, so that no command that
/// hangs can delay it and none can overtake it.
public actor Announcer {
  /// What a person may want to know.
  public enum Notice: Sendable {
    /// - Parameter started: when the instance began, in ms since 1970 by the server's clock.
    case announced(channel: String, started: Int64)
    case connectionLost(PresenceError)
    case connectionBack
  }

  /// How an instance is announced.
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
    /// Whether this goes on for an announcer of the same instance that died: the bus is told `back`.
    public var succeeds = false
    /// The channel that a predecessor has told of.
    public var lastChannel: String?

    /// What `paasbus announce` does.
    public init() {}
  }

  /// Why an instance stops, and how the command ended that it is.
  public struct Stop: Sendable, Hashable {
    /// The signal that asked for it (`shutdown` for a server's own), or how it went by itself: `exit`,
    /// `signal`, `pid-gone`.
    public var reason: String
    /// The command's status as a shell tells it.
    public var exit: Int32?
    /// The signal that ended the command.
    public var signal: String?

    /// A stop for a reason, of a command with its status.
    public init(reason: String, exit: Int32? = nil, signal: String? = nil) {
      self.reason = reason
      self.exit = exit
      self.signal = signal
    }
  }

  /// How `run()` ended.
  public enum Ending: Sendable, Hashable {
    /// The `stop` is on the bus.
    case stopped
    /// Nothing had been announced, so there was nothing to take back.
    case neverAnnounced
    /// The same, though it was waited for: the first contact hung to the end.
    case unanswered
    /// The `stop` could not be delivered, since no answer came in time or for this reason; the lease will
    /// tell the others.
    case undelivered(PresenceError?)
  }

  /// How long an instance counts as present without a heartbeat, unless told.
  public static let defaultLease = Duration.seconds(15)

  private let keys: Keys
  private let transitions: Transitions
  private let connector: RedisConnector
  private let options: Options
  private let began: ContinuousClock.Instant
  private let notify: @Sendable (Notice) -> Void

  private var state: AnnouncerState
  private var connection: RedisConnection?
  /// Whether there was a connection on which it beat.
  private var hasBeaten = false
  private var reaper: Reaper?
  /// The step under way, and its number.
  private var work: (step: AnnouncerState.Step, task: Task<AnnouncerState.Outcome, Never>)?
  private var stepNumber = 0
  /// Ends once nothing is left to be told of the draining.
  private let drained = AsyncStream<Void>.makeStream()

  /// - Parameters:
  ///   - began: when the instance really began, by this machine's monotonic clock.
  ///   - notify: is told what a person may want to know, from any thread.
  public init(
    _ instance: Instance, connector: RedisConnector, options: Options = Options(),
    began: ContinuousClock.Instant = .now, notify: @escaping @Sendable (Notice) -> Void = { _ in }
  ) {
    keys = Keys(app: instance.app)
    transitions = Transitions(keys: keys)
    var connector = connector
    connector.name = ConnectionProbe.namePrefix + instance.id
    connector.key = keys.bus
    self.connector = connector
    self.options = options
    self.began = began
    self.notify = notify
    state = AnnouncerState(instance, options: options, at: .now)
  }

  // MARK: From outside

  /// Publishes `stopping`, as soon as there is a connection; later calls change nothing.
  public nonisolated func drain(reason: String) {
    later { $0.take { $0.drain(reason: reason) } }
  }

  /// The same, and returns once that is on the bus, cannot be told yet, or the time is over.
  public func drain(reason: String, within limit: Duration) async {
    take { $0.drain(reason: reason) }
    guard !state.isDrainSettled else { return }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [drained] in for await _ in drained.stream {} }
      group.addTask { [connector] in try? await connector.thread.sleep(for: limit) }
      await group.next()
      group.cancelAll()
    }
  }

  /// Ends `run()` with a `stop`; later calls change nothing.
  public nonisolated func stop(_ stop: Stop) {
    let time = ContinuousClock.now
    later { $0.take { $0.stop(stop, at: time) } }
  }

  /// The same, for a reason alone.
  public nonisolated func stop(reason: String) { stop(Stop(reason: reason)) }

  /// On the thread of the connections, in the order of the calls.
  private nonisolated func later(_ body: @escaping @Sendable (isolated Announcer) -> Void) {
    Task(executorPreference: connector.thread.executor) { await body(self) }
  }

  private func take(_ request: (inout AnnouncerState) -> Void) {
    request(&state)
    guard let work, let patience = state.patience(for: work.step, at: .now) else { return }
    if patience > .zero { limitWork(to: patience) } else { work.task.cancel() }
  }

  /// Gives up the step under way once the time is over.
  private func limitWork(to patience: Duration) {
    let number = stepNumber
    Task(executorPreference: connector.thread.executor) {
      try? await self.connector.thread.sleep(for: patience)
      await self.giveUp(number)
    }
  }

  private func giveUp(_ number: Int) {
    guard let work else { return }
    // Whatever is under way by then, where the time for a first contact is over.
    if number == stepNumber || state.patience(for: work.step, at: .now) == .zero {
      work.task.cancel()
    }
  }

  // MARK: Running

  /// Announces the instance until it is told to stop. A cancellation is a stop with the reason `shutdown`,
  /// which is tried to be delivered for as long as any.
  ///
  /// - Throws: ``PresenceError`` when the first contact is refused for good (kinds `refused`,
  ///   `configuration`, `nonsense`, `tls`), unless the options say otherwise.
  public nonisolated func run() async throws -> Ending {
    // In a task of its own, since the end has to be told even where the caller's is cancelled.
    let announcing = Task(executorPreference: connector.thread.executor) {
      try await self.announce()
    }
    return try await withTaskCancellationHandler {
      try await announcing.value
    } onCancel: {
      stop(reason: "shutdown")
    }
  }

  private func announce() async throws -> Ending {
    while true {
      let step = state.next(at: .now)
      for notice in state.takeNotices() { notify(notice) }
      if case .finish(let result) = step {
        await connection?.close()
        return try result.get()
      }
      let task = Task(executorPreference: connector.thread.executor) {
        await self.carryOut(step)
      }
      stepNumber += 1
      work = (step, task)
      if case .tellStopping(_, let limit?) = step { limitWork(to: limit) }
      let outcome = await task.value
      work = nil
      state.receive(outcome, of: step, at: .now)
      if !state.isConnected, let broken = connection {
        connection = nil
        await broken.close()
      }
      if state.isDrainSettled { drained.continuation.finish() }
    }
  }

  private func carryOut(_ step: AnnouncerState.Step) async -> AnnouncerState.Outcome {
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
    case .register, .beat, .tellStopping, .list, .prepareEnd, .renewKeys, .rest, .tellStop:
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
    reaper = Reaper(keys: keys, ownID: state.instance.id, isReconnected: hasBeaten)
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
      return .registered(outcome, asked: asked)
    case .beat(let commands): return try await beat(commands, on: connection)
    case .rest(let due): try await rest(until: due, on: connection.limited(to: patience))
    case .tellStopping(let reason, _):
      _ = try await transitions.stopping(state.instance.id, reason: reason, on: connection)
    case .list(let now): try await listApp(now, on: connection)
    case .prepareEnd: try await transitions.prepareEnd(on: connection)
    case .renewKeys: _ = try await connection.pipeline(keys.transition.map(Self.renewal))
    case .tellStop(let instance, let stop, let lastChannel, let limit):
      _ = try await transitions.stop(
        instance, elapsed: asked - began, stop: stop, lastChannel: lastChannel,
        on: connection.limited(to: limit))
    case .connect, .wait, .finish: break
    }
    return .done
  }

  // MARK: Beating

  /// An answer that is later than the next beat comes from a connection that is half dead; a new
  /// one can still renew the lease in time. The end of our patience is behind the latest next beat,
  /// so that a timer which was set for it wakes nobody.
  private var patience: Duration {
    let beat = state.instance.beat
    return connector.timeout < beat ? connector.timeout : max(beat * 1.15, .seconds(1))
  }

  /// Beats, and looks with it at leases that are over.
  private func beat(
    _ commands: [RedisCommand], on connection: RedisConnection
  ) async throws -> AnnouncerState.Outcome {
    let connection = connection.limited(to: patience)
    let asked = ContinuousClock.now
    hasBeaten = true
    guard var reaper, let clock = state.clock else { throw RedisError(.closed) }
    let look = reaper.overdueCommand(near: clock.now)
    let replies = try await connection.pipeline(commands + [look])
    if let now = try ServerClock(replies.first, asked: asked) {
      try await reaper.takeOverdue(replies.last ?? .null, now, on: connection)
    }
    self.reaper = reaper
    return .beaten(Array(replies.dropLast()), asked: asked)
  }

  /// Waits for the next beat, and looks meanwhile at others whose lease is over, if there are any.
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

  /// Renews the app's place among those that announce, by which a reader without `--app` finds it.
  private func listApp(_ now: Int64, on connection: RedisConnection) async throws {
    let oldest = now - Keys.timeToLive.milliseconds
    let commands = [
      RedisCommand("ZADD", Keys.apps, "\(now)", keys.app),
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
}
