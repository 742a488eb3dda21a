import PaasbusRedis

/// Notices killed instances by their missing connections, which is sooner than by their leases.
///
/// Announcers name their connection after the id of their instance. An instance counts as gone if
/// our connection has seen that name before, the name is missing from the server's list of clients
/// for 1.5 s of observed time, and the lease has not been renewed meanwhile: a live instance would
/// have reconnected and sent a beat by then. After a break, and where very many instances are
/// missing at once, this time is longer. A name that was never seen proves nothing. A value without
/// I/O.
struct ConnectionProbe: Sendable {
  /// The beginning of the names that announcers give to their connections.
  static let namePrefix = "paasbus:"
  /// The name that watchers give to the connection on which they send commands.
  static let watcherName = "paasbus-watch"
  static let patience = Duration.milliseconds(1500)
  /// The longer patience, soon after a break and where many instances are missing at once: they may
  /// be about to reconnect.
  static let longPatience = Duration.seconds(5)
  /// For how long after a break an absence may be due to it.
  static let aftermath = Duration.seconds(5)
  /// If more than this are missing at once, they were probably not killed: something between them
  /// and the server failed.
  static let maxMissing = 200
  /// At most this many clients are listed a second, by all watchers together.
  private static let clientsPerSecond = 1000

  private struct Absence {
    var end: Int64
    var since: ContinuousClock.Instant
    var patience: Duration
  }

  private var seen: Set<String> = []
  private var absences: [String: Absence] = [:]
  /// The ids that were found to be gone once. If one of them comes back, its connection proves
  /// little, for example behind a proxy that makes new connections. From then on only its lease
  /// counts.
  private var doubted: Set<String> = []
  private(set) var nextLook = ContinuousClock.now
  /// Off where the server refuses to list its clients.
  private(set) var isOn = true
  /// The number of the stretch of observed time that the absences belong to.
  private var stretch: Int?

  mutating func turnOff() { isOn = false }

  /// Takes the reply to `CLIENT LIST`; returns the ids that are missing. The caller looks at their
  /// leases next.
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
    nextLook = SharedTick.last(within: Self.interval(count, watchers), of: instant)
    return Array(missing)
  }

  /// The more watchers there are, the less often each of them looks. A watcher that finds an
  /// instance missing looks again without waiting for the others, so that together they notice a
  /// loss as soon as a single watcher would.
  private static func interval(_ clients: Int, _ watchers: Int) -> Duration {
    let alone = Duration.seconds(1) * clients / clientsPerSecond
    return watchers > 1 ? alone * watchers * Double.random(in: 0.75...1.25) : alone
  }

  /// The name that a client gave to its connection.
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

  /// Takes the ends of the missing instances' leases, nil where there is no lease or no longer one;
  /// returns the instances to reap.
  ///
  /// - Parameters:
  ///   - ends: all that ``list(_:at:)`` found to be missing.
  ///   - asked: when the clients were asked for.
  ///   - time: the observed time, whose last look was made after the list.
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
        // It is alive, and beats on another connection than the one that we knew.
        forget(id)
      } else if asked - absence.since >= absence.patience {
        lost.append(LeaseObserver.Lost(id: id, end: end))
        // The id stays in `seen`, so that the reap is tried again if the server does not accept it.
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
