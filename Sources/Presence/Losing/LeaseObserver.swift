/// Decides from looks at the leases which of them have been seen to run out.
///
/// A lease alone proves little: after an outage all leases are over although all instances are
/// alive. So an instance counts as lost only once the same end of its lease was observed for longer
/// than a renewal takes. Where the end was set before a break, the instance gets more time, since
/// it may be about to reconnect. When one such instance comes back, the time starts again for all
/// of them, since probably the whole fleet is returning. A value without I/O.
struct LeaseObserver: Sendable {
  /// An instance to be declared lost, and the end of its lease that was seen.
  struct Lost: Sendable, Hashable {
    var id: String
    var end: Int64
    /// Whether the end is in the future and did not change for longer than a lease, which means
    /// that the server's clock went back.
    var isAhead = false
  }

  /// The time between the look that found a lease over for long enough and the one that confirms
  /// it.
  static let confirmationDelay = Duration.milliseconds(250)
  /// For how long after a break the return of one instance gives more time to the others.
  static let maxReturn = Duration.seconds(60)
  /// The lease of an instance whose record cannot be read.
  private static let defaultLease: Int64 = 15_000

  private struct Sighting {
    var end: Int64
    /// In ms.
    var lease: Int64
    var first: ContinuousClock.Instant
    /// Whether the end was set before the break, so that its instance may be about to reconnect.
    var stoodAtBreak: Bool
    /// When the lease was first found to be over for long enough.
    var over: ContinuousClock.Instant?

    var beat: Duration { .milliseconds(lease) / 3 }
    var patience: Duration { max(.milliseconds(1500), beat * 1.1 + .milliseconds(500)) }
    var patienceAfterBreak: Duration { max(.seconds(5), beat * 1.1 + .seconds(1)) }
    /// Whether its instance should have renewed it by now.
    func isAwaitingBeat(_ now: ObservedTime.Look) -> Bool {
      let left = Duration.milliseconds(max(0, end - now.time))
      // Of short leases, that is noticed with the first beat that is missing.
      let margin = beat < .milliseconds(1500) ? Duration.milliseconds(700) : .milliseconds(-300)
      return left < beat * 1.9 + margin
        || now.answered - first > beat * 1.1 + .milliseconds(300)
    }
    /// For how long the same end may be in the future.
    var maxAhead: Duration { .milliseconds(lease) + beat * 1.1 }
  }

  private var sightings: [String: Sighting] = [:]
  /// The lengths, in ms, of the leases that the last look found.
  private var leases: [String: Int64] = [:]
  /// The stretch of observed time that the sightings belong to.
  private var stretch: ObservedTime.Stretch?
  /// When a lease that was over at the break was last seen to be renewed.
  private var lastReturn: ContinuousClock.Instant?

  /// The ids that a look found and for which the length of the lease is not known yet.
  func unknown(_ ends: [String: Int64]) -> [String] {
    ends.keys.filter { leases[$0] == nil }
  }

  /// The ids of leases that were over at the break and that a look no longer found. Each of them is
  /// renewed or gone, so the caller has to add their present ends to what the look found.
  func unaccounted(_ ends: [String: Int64], in time: ObservedTime) -> [String] {
    guard let now = time.stretch, now.number == stretch?.number, isReturning(in: now) else {
      return []
    }
    return sightings.compactMap { id, sighting in
      ends[id] == nil && wasOver(sighting.end, at: now) ? id : nil
    }
  }

  /// Takes what the last look of `time` found, and returns the instances to reap.
  ///
  /// - Parameters:
  ///   - ends: when leases end, in ms by the server's clock.
  ///   - lengths: the lengths in ms of the leases for which ``unknown(_:)`` asked.
  mutating func look(
    _ ends: [String: Int64], lengths: [String: Int64] = [:], in time: ObservedTime
  ) -> [Lost] {
    guard let now = time.stretch else {
      (sightings, stretch) = ([:], nil)
      return []
    }
    if now.number != stretch?.number { (sightings, lastReturn) = ([:], nil) }
    stretch = now
    observe(ends, lengths, now)
    return judge(now)
  }

  private mutating func observe(
    _ ends: [String: Int64], _ lengths: [String: Int64], _ now: ObservedTime.Stretch
  ) {
    var seen: [String: Sighting] = [:]
    var known: [String: Int64] = [:]
    for (id, end) in ends {
      let before = sightings[id]
      let lease = lengths[id] ?? leases[id]
      known[id] = lease
      if let before, before.end == end {
        seen[id] = before
        continue
      }
      if let before, wasOver(before.end, at: now), isReturning(in: now) {
        lastReturn = now.last.answered
      }
      seen[id] = Sighting(
        end: end, lease: lease ?? Self.defaultLease, first: now.last.answered,
        stoodAtBreak: stoodAtBreak(end, lease ?? Self.defaultLease, now))
    }
    (sightings, leases) = (seen, known)
  }

  private mutating func judge(_ now: ObservedTime.Stretch) -> [Lost] {
    var lost: [Lost] = []
    for (id, sighting) in sightings {
      guard isDue(sighting, now) else {
        sightings[id]?.over = nil
        continue
      }
      if let over = sighting.over {
        guard now.last.asked - over >= Self.confirmationDelay else { continue }
        lost.append(Lost(id: id, end: sighting.end, isAhead: sighting.end >= now.last.time))
      }
      // If the server does not accept the reap, a later look tries it again.
      sightings[id]?.over = now.last.answered
    }
    return lost
  }

  private func isDue(_ sighting: Sighting, _ now: ObservedTime.Stretch) -> Bool {
    let (start, patience) =
      sighting.end < now.last.time
      ? watch(sighting) : (start: sighting.first, patience: sighting.maxAhead)
    return now.last.asked - start >= patience
  }

  /// From when on, and for how long, an end has to be observed.
  private func watch(
    _ sighting: Sighting
  ) -> (start: ContinuousClock.Instant, patience: Duration) {
    guard sighting.stoodAtBreak else { return (sighting.first, sighting.patience) }
    return (
      max(sighting.first, lastReturn ?? sighting.first), sighting.patienceAfterBreak
    )
  }

  /// Whether an end was set before the break that a stretch follows: either the first look found
  /// it, or it is less than one lease later than that look.
  private func stoodAtBreak(
    _ end: Int64, _ lease: Int64, _ stretch: ObservedTime.Stretch
  ) -> Bool {
    stretch.followsBreak
      && (stretch.last == stretch.first || end - lease < stretch.first.time)
  }

  private func wasOver(_ end: Int64, at stretch: ObservedTime.Stretch) -> Bool {
    stretch.followsBreak && end < stretch.first.time
  }

  private func isReturning(in stretch: ObservedTime.Stretch) -> Bool {
    stretch.followsBreak && stretch.last.answered - stretch.first.answered <= Self.maxReturn
  }

  /// Whether there is a lease that should have been renewed by now.
  var isAwaitingBeats: Bool {
    guard let last = stretch?.last else { return false }
    return sightings.values.contains { $0.isAwaitingBeat(last) }
  }

  /// The earliest time at which a look could find an instance lost; nil where there is no lease to
  /// observe.
  var nextDue: ContinuousClock.Instant? {
    guard let now = stretch else { return nil }
    return sightings.values.map { sighting in
      if let over = sighting.over { return over + Self.confirmationDelay }
      let (start, patience) = watch(sighting)
      guard sighting.end >= now.last.time else { return start + patience }
      let left = Duration.milliseconds(sighting.end - now.last.time + 1)
      return min(
        max(now.last.answered + left, start + patience), sighting.first + sighting.maxAhead)
    }.min()
  }
}
