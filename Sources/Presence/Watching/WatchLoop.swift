import PaasbusRedis
import Synchronization

/// A watch across its connections: connects, finds the bus and follows it, and again for ever once there was
/// a first contact.
struct WatchLoop {
  private let hub: Hub
  private let progress = WatchProgress()

  init(hub: Hub) {
    self.hub = hub
  }

  private var watcher: Watcher { hub.watcher }

  /// - Throws: ``PresenceError`` when the first contact fails.
  func run() async throws {
    var backoff = Backoff()
    var connected: ContinuousClock.Instant?
    // What was told of the outage.
    var told: PresenceError?
    while !Task.isCancelled {
      do {
        try await connect { session in
          if told != nil { hub.notify(.connectionBack) }
          told = nil
          connected = .now
          try await follow(session)
        }
      } catch is CancellationError {
        return
      } catch {
        guard let error = PresenceError(error) else { throw error }
        guard progress.hasContact, !isFinal(error) else { throw error }
        if error.adds(to: told) {
          hub.notify(.connectionLost(error))
          told = error
        }
        progress.connectionWasLost()
        backoff.connectionEnded(since: connected)
        connected = nil
        try? await watcher.connector.thread.sleep(for: backoff.next())
      }
    }
  }

  /// Where no channel was asked for, the next connection listens to the bus's own.
  private func isFinal(_ error: PresenceError) -> Bool {
    if case .otherChannel = error { return watcher.options.channel != nil }
    return error.isConfiguration
  }

  /// Runs `body` with both connections.
  private func connect(_ body: (WatchConnections) async throws -> Void) async throws {
    let app = progress.app ?? watcher.app
    let connector = watcher.connector.routed(to: app.map { Keys(app: $0).bus } ?? Keys.apps)
    var asking = connector
    asking.name = ConnectionProbe.watcherName
    try await asking.withConnection { query in
      let channel = try await channel(app, on: query)
      try await connector.withSubscription(to: [channel]) { subscription in
        try await body(
          WatchConnections(app: app, channel: channel, query: query, subscription: subscription))
      }
    }
  }

  /// The channel to listen to: the bus's own, which one asked for must not contradict.
  private func channel(_ app: String?, on query: RedisConnection) async throws -> String {
    let asked = watcher.options.channel
    guard let app else { return asked ?? Watcher.defaultChannel }
    let own = try await BusState.read(keys: Keys(app: app), on: query).channel
    if let own, let asked, own != asked {
      throw PresenceError.otherChannel(app: app, channel: own)
    }
    return own ?? asked ?? Watcher.defaultChannel
  }

  /// Follows the bus, once there is one, until the connection fails or the task is cancelled, or
  /// another channel turns out to be the bus's.
  private func follow(_ connections: WatchConnections) async throws {
    let isReconnected = progress.hasContact
    func session(_ app: String) -> WatchSession {
      WatchSession(hub: hub, app: app, connections: connections)
    }
    if let app = connections.app {
      return try await session(app).run(progress, messages: nil, isReconnected: isReconnected)
    }
    progress.set(.waiting)
    if !isReconnected { hub.notify(.waitingForBus) }
    guard let (found, messages) = try await BusFinder(hub: hub, connections: connections).find()
    else { return }
    var timeline = Timeline(
      app: found, position: nil, trustsMessages: !watcher.options.confirmsEvents)
    timeline.connectionWasLost()
    progress.set(.following(timeline))
    // In a cluster, another node holds it than the list of apps.
    let own = try? await BusState.read(keys: Keys(app: found), on: connections.query)
    let channel = connections.channel
    hub.notify(.watching(app: found, channel: own?.channel ?? channel))
    guard let own, own.channel ?? channel == channel else { return }
    try await session(found).run(progress, messages: messages, isReconnected: isReconnected)
  }
}

/// What a watch uses while it is connected: one connection to ask, and one that listens, since that one cannot
/// ask.
struct WatchConnections {
  /// nil where the first bus is waited for.
  let app: String?
  let channel: String
  let query: RedisConnection
  let subscription: RedisSubscription
}

/// How far a watch has come, across its connections.
final class WatchProgress: Sendable {
  enum State: Sendable {
    case unconnected
    /// No app has announced an instance on this server yet.
    case waiting
    case following(Timeline)
  }

  let times = BusTimes()
  private let state = Mutex(State.unconnected)

  func get() -> State { state.withLock { $0 } }
  func set(_ new: State) { state.withLock { $0 = new } }

  var hasContact: Bool {
    if case .unconnected = get() { return false }
    return true
  }

  var isFollowing: Bool { app != nil }

  var app: String? {
    guard case .following(let timeline) = get() else { return nil }
    return timeline.app
  }

  func connectionWasLost() {
    state.withLock { state in
      guard case .following(var timeline) = state else { return }
      timeline.connectionWasLost()
      state = .following(timeline)
    }
  }
}
