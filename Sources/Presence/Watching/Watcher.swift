import PaasbusRedis
import Synchronization

/// Follows a bus: what was, what is, and what happens, each event once and in order.
///
/// Uses two connections, since a subscribed one cannot ask. `run` lasts until its task is
/// cancelled; the decisions are the ``Timeline``'s.
public struct Watcher: Sendable {
  /// From when on the history is told.
  public enum Since: Sendable, Hashable {
    case beginning
    /// By the server's clock.
    case ago(Duration)

    /// The first moment that counts, in ms by the server's clock.
    public func earliest(now: Int64) -> Int64 {
      switch self {
      case .beginning: 0
      case .ago(let duration): max(0, now - min(duration.milliseconds, now))
      }
    }
  }

  /// What a watch tells, and how much of it.
  public struct Options: Sendable {
    /// The channel asked for; nil for the bus's own.
    public var channel: String?
    /// From when on to show the history first; nil for none of it.
    public var since: Since?
    /// Whether to tell who is there before what happens.
    public var showsSnapshot = true
    /// Show events only once the history holds them, so that no forged message passes for one.
    public var confirmsEvents = false
    /// Tell all of the bus when the watch begins, and again where what was told no longer adds up.
    public var tellsWholes = false

    /// What `paasbus watch` tells.
    public init() {}
  }

  /// What a person may want to know of the watch itself.
  public enum Notice: Sendable {
    /// Nobody has announced on this server yet; the first app that does will be watched.
    case waitingForBus
    case watching(app: String, channel: String)
    case connectionLost(PresenceError)
    case connectionBack
    /// The user may not write, so this watcher declares nobody lost.
    case cannotReap
    /// Another app publishes on the same channel.
    case otherApp(String)
    /// More of them than are told by name.
    case manyOtherApps
  }

  /// The channel of a bus that has none yet.
  public static let defaultChannel = "instances"

  let app: String?
  let connector: RedisConnector
  var options: Options
  /// How long an answer may take at the first contact.
  var timeout: Duration { connector.timeout }
  let notify: @Sendable (Notice) -> Void

  /// - Parameters:
  ///   - app: whose bus to follow; nil for the first that anybody announces on.
  ///   - notify: is told what a person may want to know.
  public init(
    app: String?, connector: RedisConnector, options: Options = Options(),
    notify: @escaping @Sendable (Notice) -> Void = { _ in }
  ) {
    self.app = app
    self.connector = connector
    self.options = options
    self.notify = notify
  }

  /// Hands over batches of output, in order, until the task is cancelled. Where `show` stalls, the
  /// watch waits with what it tells, but goes on to look after the instances.
  ///
  /// - Throws: `RedisError` when the first contact fails; what `show` throws. Later failures are
  ///   followed by new attempts, for ever.
  public func run(_ show: ([WatchOutput]) async throws -> Void) async throws {
    let output = OutputQueue()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { output.finish() }
        try await follow(output)
      }
      while let batch = await output.next() { try await show(batch) }
      try await group.waitForAll()
    }
  }

  func follow(_ output: OutputQueue) async throws {
    let progress = WatchProgress()
    var backoff = Backoff()
    var connected: ContinuousClock.Instant?
    var trouble: PresenceError?
    while !Task.isCancelled {
      do {
        let app = progress.app ?? app
        let connector = connector.routed(to: app.map { Keys(app: $0).bus } ?? Keys.apps)
        var asking = connector
        asking.name = ConnectionProbe.watcherName
        try await asking.withConnection { query in
          let channel = try await channel(app, on: query)
          try await connector.withSubscription(to: [channel]) { subscription in
            if trouble != nil { notify(.connectionBack) }
            trouble = nil
            connected = .now
            try await follow(progress, app, channel, query, subscription, output)
          }
        }
      } catch is CancellationError {
        return
      } catch {
        guard let error = PresenceError(error) else { throw error }
        guard progress.hasContact, !isFinal(error) else { throw error }
        if trouble == nil { notify(.connectionLost(error)) }
        trouble = error
        progress.connectionWasLost()
        backoff.connectionEnded(since: connected)
        connected = nil
        try? await Task.sleep(for: backoff.next())
      }
    }
  }

  /// Where no channel was asked for, the next connection listens to the bus's own.
  private func isFinal(_ error: PresenceError) -> Bool {
    if case .otherChannel = error { return options.channel != nil }
    return error.isConfiguration
  }

  /// Follows the bus, once there is one, until the connection fails or the task is cancelled, or
  /// another channel turns out to be the bus's.
  private func follow(
    _ progress: WatchProgress, _ app: String?, _ channel: String, _ query: RedisConnection,
    _ subscription: RedisSubscription, _ output: OutputQueue
  ) async throws {
    let isReconnected = progress.hasContact
    func session(_ app: String) -> WatchSession {
      WatchSession(
        self, app: app, channel: channel, query: query, subscription: subscription, output: output)
    }
    if let app {
      return try await session(app).run(progress, messages: nil, isReconnected: isReconnected)
    }
    progress.set(.waiting)
    if !isReconnected { notify(.waitingForBus) }
    let finder = BusFinder(query: query, subscription: subscription, output: output)
    guard let (found, messages) = try await finder.find() else { return }
    var timeline = Timeline(app: found, position: nil, trustsMessages: !options.confirmsEvents)
    timeline.connectionWasLost()
    progress.set(.following(timeline))
    // In a cluster, another node holds it than the list of apps.
    let own = try? await BusState.read(keys: Keys(app: found), on: query)
    notify(.watching(app: found, channel: own?.channel ?? channel))
    guard let own, own.channel ?? channel == channel else { return }
    try await session(found).run(progress, messages: messages, isReconnected: isReconnected)
  }

  /// The channel to listen to: the bus's own, which one asked for must not contradict.
  private func channel(_ app: String?, on query: RedisConnection) async throws -> String {
    guard let app else { return options.channel ?? Self.defaultChannel }
    let own = try await BusState.read(keys: Keys(app: app), on: query).channel
    if let own, let asked = options.channel, own != asked {
      throw PresenceError.otherChannel(app: app, channel: own)
    }
    return own ?? options.channel ?? Self.defaultChannel
  }
}

/// How far a watch has come, across its connections.
final class WatchProgress: Sendable {
  enum State: Sendable {
    case unconnected
    /// Nobody has announced on this server yet.
    case waiting
    case following(Timeline)
  }

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
