import PaasbusRedis

/// What an announcer knows, and what it does next: a value without I/O.
///
/// It does one step at a time. Whoever carries them out asks ``next(at:)``, and hands over the outcome.
/// What is wanted from outside (``drain(reason:)``, ``stop(_:at:)``) may come at any time, and may call for
/// the step under way to be given up (``patience(for:at:)``).
struct AnnouncerState: Sendable {
  typealias Instant = ContinuousClock.Instant

  enum Step: Sendable {
    /// Make a connection; in the given time, where it is short.
    case connect(within: Duration?)
    /// Say that the instance is there, whatever the server knows of it.
    case register(Instance, lastChannel: String?, tellsReturn: Bool)
    case beat([RedisCommand])
    /// In the given time, where it is short; it is on its way all the same.
    case tellDraining(reason: String, within: Duration?)
    /// Renew the app's place among those that announce. With the server's time in ms.
    case list(now: Int64)
    /// Have the server know the scripts that come at the end.
    case prepareEnd
    /// Have the keys live on.
    case renewKeys
    /// Wait on the connection, and look meanwhile at leases that are over.
    case rest(until: Instant)
    /// Wait without one.
    case wait(Duration)
    case tellStop(Instance, InstanceStop, lastChannel: String?, within: Duration)
    case finish(Result<Announcer.Ending, PresenceError>)
  }

  enum Outcome: Sendable {
    case done
    case registered(Transitions.Outcome, asked: Instant)
    case beaten([RedisValue], asked: Instant)
    case failed(PresenceError)
    /// It was given up; what was written may still be carried out.
    case abandoned
  }

  enum Link: Sendable {
    case none
    /// It is not known yet whether the server knows the instance.
    case fresh
    case joined
  }

  /// How the end goes.
  struct End: Sendable {
    let stop: InstanceStop
    let deadline: Instant
    var backoff = Backoff(longest: .milliseconds(500))
    var failure: PresenceError?
    var isDelivered = false
  }

  /// What says that we are draining goes first; on a connection that hangs, the stop is written behind it.
  private static let drainPatience = Duration.milliseconds(50)
  /// In less, nothing is worth to be tried.
  private static let minAttempt = Duration.milliseconds(10)
  private static let renewalInterval = Duration.seconds(3600)

  let keys: Keys
  let options: Announcer.Options
  var instance: Instance
  var channel: String?
  /// The server's, as the last answer told it.
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
  /// What was told to go wrong and is not over.
  var trouble: PresenceError?
  /// What was told of this trouble.
  var toldTrouble: PresenceError?
  /// What ends it all.
  var refusal: PresenceError?
  var hasAnnounced = false
  /// Whether the first contact has come to an outcome, whatever it was.
  var hasOutcome = false
  /// Whether a `start` has been written at all, whatever became of it.
  var hasSentStart: Bool
  /// The same before the last was written.
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
    // Of what a predecessor did not tell, it may have sent a start.
    (hasSentStart, hadSentStart) = (options.succeeds, options.succeeds)
    tellsReturn = options.succeeds
    channel = options.lastChannel
  }

  /// Whether something goes wrong and is not over.
  var isTroubled: Bool { trouble != nil }

  var isConnected: Bool { link != .none }

  /// Whether nothing is left to be told of the draining, or nothing can be now.
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

  /// Whether a stop has been asked for and may be told: with ``Announcer/Options/tellsShortRuns`` it waits for
  /// the outcome of the first contact.
  func isEnding(at now: Instant) -> Bool {
    guard let end else { return false }
    return !options.tellsShortRuns || hasOutcome || now >= end.deadline
  }

  /// For how long a step that is under way may go on, now that something was asked for; nil for as long as
  /// it takes.
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
    // Once only: of one whose answer was lost, it is not known whether it was told.
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
    // Half of what is left, so that a connection that hangs leaves time for a new one.
    guard link != .none else { return .connect(within: left * 0.5) }
    if link == .joined, let drainReason, !hasToldDraining {
      return .tellDraining(reason: drainReason, within: Self.drainPatience)
    }
    return .tellStop(instance, end.stop, lastChannel: channel, within: left * 0.5)
  }
}
