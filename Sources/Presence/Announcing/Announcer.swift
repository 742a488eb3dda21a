import PaasbusRedis

/// Publishes one instance: `start`, a heartbeat every third of the lease, and `stop`.
///
/// `run()` lasts until ``stop(reason:)`` is called. It uses one connection at a time; when that is
/// lost, it tries without limit to make a new one. ``AnnouncerState`` decides on each step. A stop
/// ends the wait for the step under way and is sent on the same connection, so that a command that
/// hangs cannot delay it and no command can overtake it.
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
    /// How many events the bus keeps; nil leaves the number unchanged.
    public var history: Int?
    /// How long to try to deliver the `stop`.
    public var stopTimeout = Duration.seconds(3)
    /// Whether a refusal at the first contact ends `run()` with an error.
    public var failsWhenRefused = true
    /// Whether a stop waits for the outcome of the first contact, so that even a very short run is
    /// announced; otherwise such a run is not announced at all.
    public var tellsShortRuns = false
    /// Whether this announcer replaces one of the same instance that died; `back` is then
    /// published.
    public var succeeds = false
    /// The channel that the replaced announcer reported.
    public var lastChannel: String?
    /// Measures what the instance uses. It is called before each heartbeat, on the thread of the
    /// connections.
    public var usage: (@Sendable () -> InstanceUsage?)?

    /// What `paasbus announce` does.
    public init() {}
  }

  /// How `run()` ended.
  public enum Ending: Sendable, Hashable {
    /// The `stop` is on the bus.
    case stopped
    /// Nothing had been announced, so no `stop` was needed.
    case neverAnnounced
    /// Nothing had been announced, although the stop waited for the first contact: no answer came
    /// in time.
    case unanswered
    /// The `stop` could not be delivered, either since no answer came in time (nil) or for this
    /// reason. Watchers notice the end when the lease runs out.
    case undelivered(PresenceError?)
  }

  /// How long an instance counts as present without a heartbeat, unless another lease is given.
  public static let defaultLease = Duration.seconds(15)

  let keys: Keys
  let transitions: Transitions
  let connector: RedisConnector
  let options: Options
  let began: ContinuousClock.Instant
  private let notify: @Sendable (Notice) -> Void

  var state: AnnouncerState
  var connection: RedisConnection?
  /// Whether a beat has been sent on any connection.
  var hasBeaten = false
  var reaper: Reaper?
  var report: UsageReport
  /// The step under way, and its number.
  private var work: (step: AnnouncerState.Step, task: Task<AnnouncerState.Outcome, Never>)?
  private var stepNumber = 0
  /// One for each call of ``drain(reason:within:)`` that still waits.
  private var drainWaiters: [AsyncStream<Void>.Continuation] = []

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
    report = UsageReport(keys: keys, id: instance.id)
  }

  // MARK: From outside

  /// Publishes `stopping`, as soon as there is a connection; later calls change nothing.
  public nonisolated func drain(reason: String) {
    later { $0.handle { $0.drain(reason: reason) } }
  }

  /// Publishes `stopping` as well, and returns once that is on the bus, once it cannot be published
  /// for now, or once the time is over.
  public func drain(reason: String, within limit: Duration) async {
    handle { $0.drain(reason: reason) }
    guard !state.isDrainSettled else { return }
    let (settled, waiter) = AsyncStream<Void>.makeStream()
    drainWaiters.append(waiter)
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in settled {} }
      group.addTask { [connector] in try? await connector.thread.sleep(for: limit) }
      await group.next()
      group.cancelAll()
    }
  }

  private func endDrainWaits() {
    for waiter in drainWaiters { waiter.finish() }
    drainWaiters = []
  }

  /// Ends `run()` with a `stop`; later calls change nothing.
  public nonisolated func stop(_ stop: InstanceStop) {
    let time = ContinuousClock.now
    later { $0.handle { $0.stop(stop, at: time) } }
  }

  /// Ends `run()` with a `stop` that has a reason alone.
  public nonisolated func stop(reason: String) { stop(InstanceStop(reason: reason)) }

  /// Runs on the thread of the connections, in the order of the calls.
  private nonisolated func later(_ body: @escaping @Sendable (isolated Announcer) -> Void) {
    Task(executorPreference: connector.thread.executor) { await body(self) }
  }

  private func handle(_ request: (inout AnnouncerState) -> Void) {
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
    // Once the time for the first contact is over, the step under way is given up, even if it is a
    // later one than that for which the timer was set.
    if number == stepNumber || state.patience(for: work.step, at: .now) == .zero {
      work.task.cancel()
    }
  }

  // MARK: Running

  /// Announces the instance until it is told to stop. A cancellation is a stop with the reason
  /// `shutdown`, which has as much time to be delivered as any other.
  ///
  /// - Throws: ``PresenceError`` when the first contact is refused for good (kinds `refused`,
  ///   `configuration`, `nonsense`, `tls`), unless the options say otherwise.
  public nonisolated func run() async throws -> Ending {
    // A task of its own, since the end has to be announced even where the caller's task is
    // cancelled.
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
        endDrainWaits()
        await connection?.close()
        return try result.get()
      }
      let task = Task(executorPreference: connector.thread.executor) {
        await self.carryOut(step)
      }
      stepNumber += 1
      work = (step, task)
      if case .tellDraining(_, let limit?) = step { limitWork(to: limit) }
      let outcome = await task.value
      work = nil
      state.receive(outcome, of: step, at: .now)
      if state.isTroubled { beginLooking() }
      if !state.isConnected, let broken = connection {
        connection = nil
        await broken.close()
      }
      if state.isDrainSettled { endDrainWaits() }
    }
  }
}
