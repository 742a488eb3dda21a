import PaasbusRedis

/// What an announcer knows, and what it does next: a value without I/O.
///
/// There is one step at a time: the announcer gets it from ``next(at:)``, carries it out, and hands
/// over the outcome. Requests from outside (``drain(reason:)``, ``stop(_:at:)``) may come at any
/// time, and may require that the step under way is given up (``patience(for:at:)``).
struct AnnouncerState: Sendable {
  typealias Instant = ContinuousClock.Instant

  enum Step: Sendable {
    /// Make a connection, within the given time; nil for the usual time.
    case connect(within: Duration?)
    /// Say that the instance is there, whatever the server knows of it.
    case register(Instance, lastChannel: String?, tellsReturn: Bool)
    case beat([RedisCommand])
    /// Publish `stopping`, and wait for the answer no longer than the given time; nil for the usual
    /// time. The command is sent in any case.
    case tellDraining(reason: String, within: Duration?)
    /// Renew the app's entry in the list of apps, with the server's time in ms.
    case list(now: Int64)
    /// Load the scripts that are needed at the end into the server.
    case prepareEnd
    /// Renew the time to live of the keys.
    case renewKeys
    /// Wait on the connection, and look meanwhile at leases that are over.
    case rest(until: Instant)
    /// Wait without a connection.
    case wait(Duration)
    case tellStop(Instance, InstanceStop, lastChannel: String?, within: Duration)
    case finish(Result<Announcer.Ending, PresenceError>)
  }

  enum Outcome: Sendable {
    case done
    case registered(Transitions.Outcome, asked: Instant)
    case beaten([RedisValue], asked: Instant)
    case failed(PresenceError)
    /// The step was given up; the server may still carry out the commands that were sent.
    case abandoned
  }

  enum Link: Sendable {
    case none
    /// It is not known yet whether the server knows the instance.
    case fresh
    case joined
  }

  /// A stop that was asked for, and the attempts to deliver it.
  struct End: Sendable {
    let stop: InstanceStop
    let deadline: Instant
    var backoff = Backoff(longest: .milliseconds(500))
    var failure: PresenceError?
    var isDelivered = false
  }

  /// How long the end waits for the answer to `stopping`, which is sent before the `stop`. On a
  /// connection that hangs, the `stop` is sent after this time.
  private static let drainPatience = Duration.milliseconds(50)
  /// With less time left, no attempt is made.
  private static let minAttempt = Duration.milliseconds(10)
  private static let renewalInterval = Duration.seconds(3600)

  let keys: Keys
  let options: Announcer.Options
  var instance: Instance
  var channel: String?
  /// The server's clock, as of its last answer.
  var clock: ServerClock?

  var link = Link.none
  var heartbeat: Heartbeat?
  /// How many beats in a row had to be sent again.
  var staleBeats = 0
  var isForgotten = false
  var due: Instant
  var renewed: Instant
  var mustList = false
  var mustPrepareEnd = false

  var backoff: Backoff
  var retryAt: Instant?
  /// The last failure, while it is not over.
  var trouble: PresenceError?
  /// What the user was told of this trouble.
  var toldTrouble: PresenceError?
  /// The refusal that ends `run()`.
  var refusal: PresenceError?
  var hasAnnounced = false
  /// Whether the first contact has come to an outcome, whatever it was.
  var hasOutcome = false
  /// Whether a `start` has been sent at all, whatever its outcome was.
  var hasSentStart: Bool
  /// The value of ``hasSentStart`` before the last `start` was sent.
  var hadSentStart: Bool
  /// Whether the next start says `back`, also of an instance that is up.
  var tellsReturn: Bool

  var drainReason: String?
  var hasToldDraining = false
  var end: End?
  var notices: [Announcer.Notice] = []

  init(_ instance: Instance, options: Announcer.Options, at now: Instant) {
    keys = Keys(app: instance.app)
    self.instance = instance
    self.options = options
    (due, renewed) = (now, now)
    backoff = Backoff(longest: min(.seconds(5), instance.beat * 0.5))
    // The replaced announcer may have sent a `start` that it did not report.
    (hasSentStart, hadSentStart) = (options.succeeds, options.succeeds)
    tellsReturn = options.succeeds
    channel = options.lastChannel
  }

  /// Whether a failure is not over yet.
  var isTroubled: Bool { trouble != nil }

  var isConnected: Bool { link != .none }

  /// Whether the draining has been published, or cannot be published now.
  var isDrainSettled: Bool { hasToldDraining || link != .joined }

  /// What a person may want to know since the last call.
  mutating func takeNotices() -> [Announcer.Notice] {
    defer { notices = [] }
    return notices
  }

  // MARK: From outside

  /// Later calls change nothing.
  mutating func drain(reason: String) {
    if drainReason == nil { drainReason = reason }
  }

  /// Later calls change nothing.
  mutating func stop(_ stop: InstanceStop, at time: Instant) {
    if end == nil { end = End(stop: stop, deadline: time + options.stopTimeout) }
  }

  /// Whether a stop has been asked for and may be sent. With ``Announcer/Options/tellsShortRuns``
  /// it waits for the outcome of the first contact, until its deadline.
  func isEnding(at now: Instant) -> Bool {
    guard let end else { return false }
    return !options.tellsShortRuns || hasOutcome || now >= end.deadline
  }

  /// For how long the step under way may go on after a request from outside; nil for as long as it
  /// takes.
  func patience(for step: Step, at now: Instant) -> Duration? {
    let isEnding = isEnding(at: now)
    switch step {
    case .tellStop, .finish: return nil
    case .tellDraining: return isEnding ? Self.drainPatience : nil
    case .rest where drainReason != nil && !hasToldDraining: return .zero
    default: return isEnding ? .zero : end.map { max(.zero, $0.deadline - now) }
    }
  }

  // MARK: What to do

  mutating func next(at now: Instant) -> Step {
    if let end, isEnding(at: now) { return nextOfEnd(end, now) }
    if let refusal { return .finish(.failure(refusal)) }
    if let retryAt, retryAt > now { return .wait(retryAt - now) }
    retryAt = nil
    if link == .none { return .connect(within: nil) }
    guard instance.started != nil, !isForgotten, var beating = heartbeat else { return register() }
    if link == .joined {
      if let drainReason, !hasToldDraining {
        return .tellDraining(reason: drainReason, within: nil)
      }
      if mustList { return .list(now: beating.clock.time(at: now)) }
      if mustPrepareEnd { return .prepareEnd }
      if now - renewed > Self.renewalInterval { return .renewKeys }
      settle()
      if now < due { return .rest(until: due) }
    }
    let commands = beating.commands(at: now)
    heartbeat = beating
    return .beat(commands)
  }

  private mutating func register() -> Step {
    (hadSentStart, hasSentStart) = (hasSentStart, true)
    // `back` is asked for only once: if the answer is lost, it may have been published already.
    defer { tellsReturn = false }
    return .register(instance, lastChannel: channel, tellsReturn: tellsReturn)
  }

  private func nextOfEnd(_ end: End, _ now: Instant) -> Step {
    guard hasSentStart else {
      let isUnanswered = options.tellsShortRuns && !hasOutcome
      return .finish(.success(isUnanswered ? .unanswered : .neverAnnounced))
    }
    if end.isDelivered { return .finish(.success(.stopped)) }
    let left = end.deadline - now
    guard left > Self.minAttempt, end.failure?.isFinal != true else {
      return .finish(.success(.undelivered(end.failure)))
    }
    if let retryAt, retryAt > now { return .wait(min(retryAt - now, left)) }
    // An attempt gets half of the time that is left, so that a connection that hangs leaves time
    // for a new one.
    guard link != .none else { return .connect(within: left * 0.5) }
    if link == .joined, let drainReason, !hasToldDraining {
      return .tellDraining(reason: drainReason, within: Self.drainPatience)
    }
    return .tellStop(instance, end.stop, lastChannel: channel, within: left * 0.5)
  }
}
