import PaasbusRedis

/// The time during which an observer has really seen the other instances.
///
/// While this process, the server, or the machine of either stands still, nothing is observed: the
/// other instances may have stood still as well and be about to go on. So only the time between two
/// looks counts, and only where both were answered quickly and neither clock shows a longer pause
/// between them. Our clock does not show that a virtual machine was paused; the server's clock
/// does. Anything else is a break, after which the observation starts again from the beginning. A
/// value without I/O.
struct ObservedTime: Sendable {
  /// A look at the server: a question that asks for its time as well.
  struct Look: Sendable, Hashable {
    var asked: ContinuousClock.Instant
    var answered: ContinuousClock.Instant
    /// The server's time, in ms since 1970.
    var time: Int64
    /// How many answers on this connection have been slow so far, to whatever question.
    var slowAnswers = 0

    fileprivate var duration: Duration { answered - asked }
  }

  /// Time without a break, from its first look to the last one.
  struct Stretch: Sendable {
    /// Differs from that of every other stretch.
    let number: Int
    let first: Look
    fileprivate(set) var last: Look
    /// Whether other instances may still be reconnecting after what interrupted the observation.
    let followsBreak: Bool
  }

  /// Two looks that are further apart prove nothing.
  static let maxPause = Duration.milliseconds(1500)

  /// nil after a break, until the next look.
  private(set) var stretch: Stretch?
  private var count = 0
  private var slowAnswers = 0
  private var hasBroken: Bool

  /// - Parameter isReconnected: whether there was a connection before this one, whose loss is a break.
  init(isReconnected: Bool) { hasBroken = isReconnected }

  /// Adds a look: it continues the stretch, or begins a new one where it proves nothing of the time
  /// since the last look.
  ///
  /// - Parameter isCalm: whether the look found no lease that is over. Where the very first look
  ///   finds one, something went wrong before it, so that look counts as the end of a break.
  mutating func add(_ look: Look, isCalm: Bool) {
    defer { slowAnswers = look.slowAnswers }
    guard look.duration <= RedisConnection.slowAnswer else { return interrupt() }
    if let last = stretch?.last, look.slowAnswers == slowAnswers, Self.isProved(last, look) {
      stretch?.last = look
    } else {
      hasBroken = hasBroken || count > 0
      count += 1
      stretch = Stretch(
        number: count, first: look, last: look, followsBreak: hasBroken || !isCalm)
    }
  }

  /// Interrupts the observation, for example after an answer that says nothing about the other
  /// instances.
  mutating func interrupt() {
    stretch = nil
    hasBroken = true
  }

  /// Whether the time between two looks was observed.
  private static func isProved(_ one: Look, _ next: Look) -> Bool {
    let ours = next.asked - one.answered
    // It is not known how the time of each answer divides between the way to the server and the way
    // back.
    let limit = maxPause + one.duration + next.duration
    let (server, hasOverflown) = next.time.subtractingReportingOverflow(one.time)
    return ours <= maxPause && !hasOverflown && server >= 0 && .milliseconds(server) <= limit
  }
}
