import PaasbusRedis

/// Notices killed instances sooner than by their lease: by connections that are gone.
///
/// Announcers name their connection after their id. An instance that was seen by that name on this
/// connection of ours, is missing from the server's list for 1.5 s of observed time, and has not
/// moved its lease meanwhile, is gone: a live one would have reconnected and beaten by then. Behind a
/// break, and where very many are missing at once, they get longer. Names that were never seen say
/// nothing. A value without I/O.
struct ConnectionProbe: Sendable {
  /// How announcers call their connection.
  static let namePrefix = "paasbus:"
  /// How watchers call the one on which they ask.
  static let watcherName = "paasbus-watch"
  static let patience = Duration.milliseconds(1500)
  /// For whoever may be on its way back: soon after a break, and where many are missing at once.
  static let longPatience = Duration.seconds(5)
  /// For how long after a break an absence may be due to it.
  static let aftermath = Duration.seconds(5)
  /// More than this are not killed at once: something between them and the server ended.
  static let maxMissing = 200
  /// At most this many clients are listed a second, by all watchers together.
  private static let clientsPerSecond = 1000
  private static let shortestInterval = Duration.milliseconds(250)

  private struct Absence {
    var end: Int64
    var since: ContinuousClock.Instant
    var patience: Duration
  }

  private var seen: Set<String> = []
  private var absences: [String: Absence] = [:]
  /// Found to be gone once. Should one of them come back, its connection says little of it, as
  /// behind a proxy that makes new ones; then its lease alone tells.
  private var doubted: Set<String> = []
  private(set) var nextLook = ContinuousClock.now
  /// Off where the server refuses to list its clients.
  private(set) var isOn = true
  /// The number of the stretch of observed time that the absences belong to.
  private var stretch: Int?

  mutating func turnOff() { isOn = false }

  /// Takes the reply to `CLIENT LIST`; returns the ids that are missing, whose leases to look at.
  mutating func list(_ text: String, at instant: ContinuousClock.Instant) -> [String] {
    var present: Set<String> = []
    var (count, watchers) = (0, 0)
    for line in text.utf8.split(whereSeparator: { $0 == 0x0A }) {
      count += 1
      guard let name = Self.name(line) else { continue }
      if name.starts(with: Self.namePrefix.utf8) {
        present.insert(String(Substring(name.dropFirst(Self.namePrefix.utf8.count))))
      } else if name.elementsEqual(Self.watcherName.utf8) {
        watchers += 1
      }
    }
    for id in present { absences[id] = nil }
    let missing = seen.subtracting(present)
    seen.formUnion(present.subtracting(doubted))
    nextLook = instant + max(Self.shortestInterval, Self.interval(count, watchers))
    return Array(missing)
  }

  /// Of many watchers each looks the more seldom. Who finds somebody missing looks again on its own,
  /// so that together they notice as soon as one alone would.
  private static func interval(_ clients: Int, _ watchers: Int) -> Duration {
    let alone = Duration.seconds(1) * clients / clientsPerSecond
    return watchers > 1 ? alone * watchers * Double.random(in: 0.75...1.25) : alone
  }

  /// What a client calls its connection.
  private static func name(_ line: Substring.UTF8View) -> Substring.UTF8View? {
    let marker = " name=".utf8
    var rest = line
    while let space = rest.firstIndex(of: 0x20) {
      rest = rest[space...]
      guard !rest.starts(with: marker) else {
        return rest.dropFirst(marker.count).prefix { $0 != 0x20 }
      }
      rest = rest.dropFirst()
    }
    return nil
  }

  /// Takes the leases' ends of the missing, nil for those that have none (any more); returns whom to
  /// reap.
  ///
  /// - Parameters:
  ///   - ends: all that ``list(_:at:)`` found to be missing.
  ///   - asked: when the clients were asked for.
  ///   - time: with a look behind the list as its last one.
  mutating func look(
    _ ends: [(id: String, end: Int64?)], asked: ContinuousClock.Instant, in time: ObservedTime
  ) -> [LeaseObserver.Lost] {
    if time.stretch?.number != stretch { absences = [:] }
    stretch = time.stretch?.number
    guard let now = time.stretch else { return [] }
    let isMass = ends.count > Self.maxMissing
    let isAftermath = now.followsBreak && now.last.answered - now.first.answered < Self.aftermath
    var lost: [LeaseObserver.Lost] = []
    for (id, end) in ends {
      guard let end else {
        forget(id)
        continue
      }
      guard var absence = absences[id] else {
        let patience = isMass || isAftermath ? Self.longPatience : Self.patience
        absences[id] = Absence(end: end, since: now.last.answered, patience: patience)
        nextLook = min(nextLook, now.last.answered + patience)
        continue
      }
      if isMass { absence.patience = Self.longPatience }
      absences[id] = absence
      if absence.end != end {
        // It lives, by another way than the connection that we knew.
        forget(id)
      } else if asked - absence.since >= absence.patience {
        lost.append(LeaseObserver.Lost(id: id, end: end))
        // Seen still: should the server not take the reap, it is tried again.
        absences[id] = nil
        doubted.insert(id)
      } else {
        nextLook = min(nextLook, absence.since + absence.patience)
      }
    }
    return lost
  }

  private mutating func forget(_ id: String) {
    seen.remove(id)
    absences[id] = nil
  }
}
