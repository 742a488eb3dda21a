/// Decides whose lease has been seen to run out, from looks at the leases that end soon.
///
/// A lease alone proves little: after an outage all of them are over while everybody lives. So an
/// instance counts as lost only after the very same end was seen for at least one beat of it, by
/// this machine's monotonic clock, on one connection whose every look was answered quickly: time
/// enough for whoever lives to renew. The server may have stood still between two looks, though, so
/// a last look confirms it after everybody has had a moment to catch up. A value without I/O.
struct LeaseObserver: Sendable {
  /// A look that takes longer than this says nothing about the others, who may be waiting too.
  static let slowestAnswer = Duration.seconds(1)
  /// The least time that a lease is watched, however short its beat: time to connect again.
  static let leastPatience = Duration.milliseconds(1500)
  /// Between the look that found a lease over for long enough and the one that confirms it.
  static let moment = Duration.milliseconds(250)

  private struct Sighting {
    var end: Int64
    var first: ContinuousClock.Instant
    /// How long the same end has to be seen: a beat, or the least patience.
    var patience: Duration
    /// When the lease was first found to be over for long enough.
    var over: ContinuousClock.Instant?
  }

  private var sightings: [String: Sighting] = [:]

  /// Begins anew, as on a new connection.
  mutating func startAnew() { sightings = [:] }

  /// The ids whose lease is not known yet among those that a look found.
  func unknown(_ ends: [String: Int64]) -> [String] {
    ends.keys.filter { sightings[$0] == nil }
  }

  /// Takes a look and returns whom to reap, with the end that was seen.
  ///
  /// - Parameters:
  ///   - ends: the leases that end soon or are over, in ms by the server's clock.
  ///   - leases: the lengths in ms of those that were unknown.
  ///   - now: the server's time in ms.
  mutating func look(
    asked: ContinuousClock.Instant, answered: ContinuousClock.Instant, ends: [String: Int64],
    leases: [String: Int64], now: Int64
  ) -> [(id: String, end: Int64)] {
    guard answered - asked <= Self.slowestAnswer else {
      startAnew()
      return []
    }
    var seen: [String: Sighting] = [:]
    for (id, end) in ends {
      if let before = sightings[id], before.end == end {
        seen[id] = before
      } else {
        let patience = leases[id].map { max(Self.leastPatience, .milliseconds($0 / 3)) }
        seen[id] = Sighting(
          end: end, first: answered,
          patience: patience ?? sightings[id]?.patience ?? .seconds(5))
      }
    }
    var lost: [(id: String, end: Int64)] = []
    for (id, sighting) in seen {
      if let over = sighting.over {
        if asked - over >= Self.moment { lost.append((id, sighting.end)) }
      } else if sighting.end < now && asked - sighting.first >= sighting.patience {
        seen[id]?.over = answered
      }
    }
    sightings = seen
    return lost
  }

  /// When to take the look that confirms; nil where nothing waits for one.
  var confirmation: ContinuousClock.Instant? {
    sightings.values.compactMap(\.over).max().map { $0 + Self.moment }
  }

  /// When the next one could be sure, seen from the server's time `now`.
  func nextDue(at instant: ContinuousClock.Instant, now: Int64) -> ContinuousClock.Instant? {
    sightings.values.map { sighting in
      if let over = sighting.over { return over + Self.moment }
      let byLease = instant + .milliseconds(max(0, sighting.end - now) + 1)
      return max(byLease, sighting.first + sighting.patience)
    }.min()
  }
}
