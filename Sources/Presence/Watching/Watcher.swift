import PaasbusRedis

/// Follows a bus: its history, its present instances, and its events as they happen, each event
/// once and in order.
///
/// It uses two connections, since a subscribed connection cannot send other commands. `run` lasts
/// until its task is cancelled. The ``Timeline`` makes the decisions.
public struct Watcher: Sendable {
  /// From which moment on the history is shown.
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

  /// What a watch shows, and how much of it.
  public struct Options: Sendable {
    /// The channel asked for; nil for the bus's own.
    public var channel: String?
    /// From when on to show the history first; nil for none of it.
    public var since: Since?
    /// Whether to show the present instances before the events.
    public var showsSnapshot = true
    /// Whether to show events only once the history holds them, so that a forged message is not
    /// taken for an event.
    public var confirmsEvents = false
    /// Whether a ``Hub`` keeps the present instances, the last events and counts.
    public var keepsRoster = false
    /// Whether a roster begins with the instances that ended within the last hour.
    package var keepsEnded = false
    /// Whether to read each second when each instance last said that it is there, which only a hub shows.
    public var readsLeases = false

    /// The options of `paasbus watch`.
    public init() {}

    /// The options for a reader of a hub's ``HubState`` that must not be deceived by forged
    /// messages.
    public static var roster: Options {
      var options = Options()
      options.showsSnapshot = false
      options.confirmsEvents = true
      options.keepsRoster = true
      return options
    }
  }

  /// What a person may want to know of the watch itself.
  public enum Notice: Sendable {
    /// No instance has announced on this server yet; the first app on which one does will be
    /// watched.
    case waitingForBus
    case watching(app: String, channel: String)
    case connectionLost(PresenceError)
    case connectionBack
    /// The user may not write, so this watcher declares no instance lost.
    case cannotReap
    /// Another app publishes on the same channel.
    case otherApp(String)
    /// Further apps publish on the channel, more than are reported by name.
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
  ///   - app: the app whose bus to follow; nil for the first app on which an instance announces.
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

  /// Hands over batches of output, in order, until the task is cancelled. While `show` stalls, the
  /// watch adds no output, but it goes on to declare instances lost.
  ///
  /// - Throws: ``PresenceError`` when the first contact fails; what `show` throws. After later
  ///   failures, the watch tries again without limit.
  public func run(_ show: ([WatchOutput]) async throws -> Void) async throws {
    try await Hub(self).run(show)
  }
}
