/// What a hub knows of its bus. A value without I/O.
public struct HubState: Sendable {
  /// How the watch's connection fares.
  public enum Connection: Sendable {
    /// There has been no answer yet.
    case connecting
    /// No instance has ever announced itself on this server; the first one is waited for.
    case waiting
    case connected
    /// It is tried again for ever.
    case lost(PresenceError)

    /// Whether it broke.
    public var isLost: Bool {
      if case .lost = self { true } else { false }
    }
  }

  /// What has been told since the watch began.
  public struct Counts: Sendable, Hashable {
    /// By type.
    public internal(set) var events: [EventType: Int] = [:]
    /// Stretches that the history no longer held.
    public internal(set) var gaps = 0
    public internal(set) var resets = 0
    public internal(set) var retracted = 0
    /// How often the connection came back.
    public internal(set) var reconnects = 0
  }

  /// So many of the last events are kept.
  static let maxEvents = 200
  /// Who ended is kept for so long, in ms, as on the bus itself.
  private static let remembrance: Int64 = 3_600_000

  /// nil until it is known which one is watched.
  public private(set) var app: String?
  public private(set) var channel: String?
  public private(set) var connection = Connection.connecting
  /// When the connection broke, in ms by the server's clock; nil while there is one.
  public private(set) var lostSince: Int64?
  /// The last event that was told.
  public private(set) var position: Position?
  public private(set) var counts = Counts()
  /// The last events, the oldest first.
  public private(set) var events: [Event] = []
  /// When the last event happened, in ms by the server's clock.
  public private(set) var lastEvent: Int64?
  package private(set) var roster = Roster()
  /// Differs whenever something has changed.
  package internal(set) var version = 0
  /// The server's clock when the leases were last read; nil where they are not.
  package private(set) var leasesRead: ServerClock?
  private var clock: ServerClock?

  package init(app: String?) {
    self.app = app
  }

  /// The instances that are present, in no order.
  public var instances: [InstanceStatus] { roster.statuses.values.filter(\.isPresent) }

  /// The state of an instance when the leases were last read.
  package func state(_ status: InstanceStatus) -> InstanceStatus.State {
    leasesRead.map { status.state(at: $0.time) } ?? status.state
  }

  /// The server's time now, in ms; nil before it was told.
  public var now: Int64? { clock?.now }

  // MARK: News

  mutating func receive(_ batch: [WatchOutput], keepsRoster: Bool) {
    for output in batch.reversed() {
      guard case .event(let event, _) = output else { continue }
      position = event.position
      break
    }
    guard keepsRoster else { return }
    for output in batch { receive(output) }
  }

  private mutating func receive(_ output: WatchOutput) {
    switch output {
    case .event(let event, let source): receive(event, source)
    case .gap: counts.gaps += 1
    case .reset: counts.resets += 1
    case .retracted: counts.retracted += 1
    case .snapshot, .foreign, .message: break
    }
  }

  private mutating func receive(_ event: Event, _ source: WatchOutput.Source) {
    roster.receive(event)
    counts.events[event.type, default: 0] += 1
    lastEvent = event.at
    // Letting go moves what is kept, so it is not done for each.
    if events.count >= 2 * Self.maxEvents {
      events.removeFirst(events.count - Self.maxEvents)
      roster.forgetEnded(before: event.at - Self.remembrance)
    }
    events.append(event)
    if source == .live || clock == nil, event.at > now ?? 0 {
      clock = ServerClock(time: event.at, asked: .now)
    }
  }

  mutating func begin(with snapshot: Snapshot) {
    roster.begin(with: snapshot)
    // The last events of before, where they were read too.
    if !snapshot.tail.isEmpty {
      events = snapshot.tail.compactMap { Event.read($0.bytes) }
      lastEvent = events.last?.at
      position = snapshot.position
    }
    clock = ServerClock(time: snapshot.now, asked: .now)
  }

  mutating func renew(_ leases: Leases) {
    roster.renew(leases)
    roster.forgetEnded(before: leases.clock.time - Self.remembrance)
    (clock, leasesRead) = (leases.clock, leases.clock)
  }

  mutating func receive(_ notice: Watcher.Notice) {
    switch notice {
    case .waitingForBus: connection = .waiting
    case .watching(let app, let channel):
      (self.app, self.channel, connection) = (app, channel, .connected)
    case .connectionLost(let error):
      connection = .lost(error)
      lostSince = lostSince ?? now
    case .connectionBack:
      connection = channel == nil ? .waiting : .connected
      lostSince = nil
      counts.reconnects += 1
    case .cannotReap, .otherApp, .manyOtherApps: break
    }
  }
}
