import PaasbusRedis

/// Publishes one instance: `start`, a heartbeat every third of the lease, and `stop`.
///
/// `run()` lasts until ``stop(reason:)`` is called; it uses one connection at a time and makes a
/// new one, for ever, when that is lost. The stop is sent from beside the heartbeats, on the same
/// connection, so that no command that hangs can delay it and none can overtake it.
public actor Announcer {
  public enum Notice: Sendable {
    /// - Parameter started: when the instance began, in ms since 1970 by the server's clock.
    case announced(channel: String, started: Int64)
    case connectionLost(PresenceError)
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
    /// Whether this goes on for an announcer of the same instance that died: the bus is told `back`.
    public var succeeds = false
    /// The channel that a predecessor has told of.
    public var lastChannel: String?

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
    /// The same, though it was waited for: the first contact hung to the end.
    case unanswered
    /// The `stop` could not be delivered, since no answer came in time or for this reason; the lease will
    /// tell the others.
    case undelivered(PresenceError?)
  }

  /// How long an instance counts as present without a heartbeat, unless told.
  public static let defaultLease = Duration.seconds(15)

  let keys: Keys
  let transitions: Transitions
  let connector: RedisConnector
  let options: Options
  let began: ContinuousClock.Instant
  let notify: @Sendable (Notice) -> Void
  private let requests = AsyncStream<Request>.makeStream()
  /// Ends with the outcome of the first contact, whatever it is.
  let firstContact = AsyncStream<Void>.makeStream()

  var instance: Instance
  var connection: RedisConnection?
  /// The server's, as the last answer told it.
  var clock: ServerClock?
  var channel: String?
  /// Why it is draining; nil as long as it is not.
  var drainReason: String?
  /// Ends when that has been said, or cannot be.
  private var drained: AsyncStream<Void>?
  var isEnding = false
  /// Whether a `start` has been written at all, whatever became of it.
  var hasSentStart: Bool
  /// Whether the next start says `back`, also of an instance that is up.
  var tellsReturn: Bool
  /// Whether there was a connection on which it beat.
  var hasBeaten = false
  /// Whether the first contact has come to an outcome, whatever it was.
  var hasOutcome = false

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
    connector.key = keys.bus
    self.connector = connector
    self.options = options
    self.began = began
    self.notify = notify
    // Of what a predecessor did not tell, it may have sent a start.
    hasSentStart = options.succeeds
    tellsReturn = options.succeeds
    channel = options.lastChannel
  }

  /// Publishes `stopping`, as soon as there is a connection; later calls change nothing.
  public nonisolated func drain(reason: String) {
    requests.continuation.yield(.drain(reason: reason))
  }

  /// The same, and returns once that is on the bus, cannot be told yet, or the time is over.
  public func drain(reason: String, within limit: Duration) async {
    startDraining(reason)
    if let drained { await wait(for: drained, until: .now + limit) }
  }

  /// Ends `run()` with a `stop`; later calls change nothing.
  public nonisolated func stop(_ stop: Stop) {
    requests.continuation.yield(.stop(stop, at: .now))
    requests.continuation.finish()
  }

  public nonisolated func stop(reason: String) { stop(Stop(reason: reason)) }

  /// Announces the instance until it is told to stop. A cancellation is a stop with the reason `shutdown`,
  /// which is tried to be delivered for as long as any.
  ///
  /// - Throws: ``PresenceError`` when the first contact is refused for good (kinds `refused`,
  ///   `configuration`, `nonsense`, `tls`), unless the options say otherwise.
  public nonisolated func run() async throws -> Ending {
    // In a task of its own, since the end has to be told even where the caller's is cancelled.
    let announcing = Task(executorPreference: RedisConnector.connectionThread) {
      try await self.announce()
    }
    return try await withTaskCancellationHandler {
      try await announcing.value
    } onCancel: {
      stop(reason: "shutdown")
    }
  }

  private func announce() async throws -> Ending {
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
      case .drain(let reason): startDraining(reason)
      case .stop(let stop, let time):
        if options.tellsShortRuns {
          await wait(for: firstContact.stream, until: time + options.stopTimeout)
        }
        return (stop, time)
      }
    }
    return nil
  }

  /// Waits for the end of a stream, or until the deadline.
  private func wait(
    for end: AsyncStream<Void>, until deadline: ContinuousClock.Instant
  ) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in end {} }
      group.addTask { try? await RedisConnector.sleep(for: max(.zero, deadline - .now)) }
      await group.next()
      group.cancelAll()
    }
  }

  /// From beside the heartbeats, so that nothing delays it; where it fails, the next registration
  /// says it again.
  private func startDraining(_ reason: String) {
    guard drainReason == nil else { return }
    drainReason = reason
    guard instance.started != nil, let connection else { return }
    let (drained, continuation) = AsyncStream<Void>.makeStream()
    self.drained = drained
    Task { [transitions, id = instance.id] in
      _ = try? await transitions.stopping(id, reason: reason, on: connection)
      continuation.finish()
    }
  }

  // MARK: The end

  private func end(_ stop: Stop, deadline: ContinuousClock.Instant) async -> Ending {
    guard hasSentStart else {
      return options.tellsShortRuns && !hasOutcome ? .unanswered : .neverAnnounced
    }
    // What says that we are draining goes first; on a connection that hangs, the stop is written
    // behind it.
    if let drained { await wait(for: drained, until: .now + .milliseconds(50)) }
    var backoff = Backoff(longest: .milliseconds(500))
    var failure: PresenceError?
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
        // How long each attempt had is of no interest.
        if !isTimeout(error) { failure = PresenceError(error) ?? failure }
        await connection?.close()
        connection = nil
        // Whoever may not stop was not let start either.
        if let failure, failure.isFinal {
          return instance.started == nil ? .neverAnnounced : .undelivered(failure)
        }
        try? await RedisConnector.sleep(for: min(backoff.next(), max(.zero, deadline - .now)))
      }
    }
  }

  private func isTimeout(_ error: any Error) -> Bool {
    if case .noAnswer? = (error as? RedisError)?.cause { true } else { false }
  }

  private func currentConnection(within limit: Duration) async throws -> RedisConnection {
    if let connection { return connection }
    var connector = connector
    connector.timeout = limit
    return try await connector.connect()
  }
}
