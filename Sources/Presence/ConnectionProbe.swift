import Redis

/// Notices killed instances sooner than by their lease: by connections that are gone.
///
/// Announcers name their connection after their id. Whoever was seen by that name on this
/// connection of ours, is missing from the server's list for 1.5 s, and has not moved its lease
/// meanwhile, is gone: who lives would have reconnected and beaten by then. Names that were never
/// seen, as behind a proxy, say nothing. A value without I/O.
struct ConnectionProbe: Sendable {
  /// How announcers call their connection.
  static let namePrefix = "paasbus:"
  static let patience = Duration.milliseconds(1500)
  /// At most this many clients are listed a second.
  private static let clientsPerSecond = 1000
  private static let shortestInterval = Duration.milliseconds(250)

  private struct Absence {
    var end: Int64
    var since: ContinuousClock.Instant
  }

  private var seen: Set<String> = []
  private var absences: [String: Absence] = [:]
  /// Found to be gone once. Should one of them come back, its connection says little of it, as
  /// behind a proxy that changes its own; then its lease alone tells.
  private var doubted: Set<String> = []
  private(set) var nextLook = ContinuousClock.now
  /// Off where the server refuses to list its clients.
  private(set) var isOn = true

  mutating func turnOff() { isOn = false }

  /// Waits anew for everybody, as after an answer that came too late to mean anything.
  mutating func startAnew() { absences = [:] }

  /// Takes the reply to `CLIENT LIST`; returns the ids that are missing, whose leases to look at.
  mutating func list(_ text: String, at instant: ContinuousClock.Instant) -> [String] {
    var present: Set<String> = []
    var count = 0
    for line in text.utf8.split(whereSeparator: { $0 == 0x0A }) {
      count += 1
      if let id = Self.id(line) { present.insert(id) }
    }
    for id in present { absences[id] = nil }
    let missing = seen.subtracting(present)
    seen.formUnion(present.subtracting(doubted))
    nextLook = instant + max(Self.shortestInterval, .seconds(1) * count / Self.clientsPerSecond)
    return Array(missing)
  }

  private static func id(_ line: Substring.UTF8View) -> String? {
    let marker = Array(" name=\(namePrefix)".utf8)
    guard let start = line.firstRange(of: marker)?.upperBound else { return nil }
    return String(Substring(line[start...].prefix { $0 != 0x20 }))
  }

  /// Takes the leases' ends of the missing, nil for who has none (any more); returns whom to reap.
  ///
  /// - Parameter instant: when the clients were asked for, so that time on the way counts less.
  mutating func look(
    _ ends: [(id: String, end: Int64?)], at instant: ContinuousClock.Instant
  ) -> [(id: String, end: Int64)] {
    var lost: [(id: String, end: Int64)] = []
    for (id, end) in ends {
      guard let end else {
        forget(id)
        continue
      }
      guard let absence = absences[id] else {
        absences[id] = Absence(end: end, since: instant)
        nextLook = min(nextLook, instant + Self.patience)
        continue
      }
      if absence.end != end {
        // It lives, by another way than the connection that we knew.
        forget(id)
      } else if instant - absence.since >= Self.patience {
        lost.append((id, end))
        // Seen still: should the server not take the reap, it is tried again.
        absences[id] = nil
        doubted.insert(id)
      } else {
        nextLook = min(nextLook, absence.since + Self.patience)
      }
    }
    return lost
  }

  private mutating func forget(_ id: String) {
    seen.remove(id)
    absences[id] = nil
  }
}
