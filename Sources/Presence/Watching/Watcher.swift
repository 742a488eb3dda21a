import PaasbusRedis

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
    /// Whether a ``Hub`` keeps who is there, the last events and counts.
    public var keepsRoster = false
    /// How often to read when each instance last said that it is there, which only a hub tells; nil for never.
    public var leaseInterval: Duration?

    /// What `paasbus watch` tells.
    public init() {}

    /// For a reader of a hub's ``HubState`` that must not be deceived.
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
  /// - Throws: ``PresenceError`` when the first contact fails; what `show` throws. Later failures are
  ///   followed by new attempts, for ever.
  public func run(_ show: ([WatchOutput]) async throws -> Void) async throws {
    try await Hub(self).run(show)
  }
}
