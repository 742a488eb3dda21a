import ExpressSessions
import NIOCore
import NIOHTTP1
import PaasbusRedis
import Presence
import Synchronization

/// What a bus has to show, over HTTP: the panel, the same facts as JSON and as a stream, and metrics.
///
/// One watch feeds all readers. Everything runs on the connector's event-loop thread.
package final class Gateway: Sendable {
  /// Where and how it is served.
  package struct Configuration: Sendable {
    /// Where to listen.
    package enum Address: Sendable, Hashable {
      /// A host's name or address, and a port.
      case tcp(host: String, port: Int)
      case unixSocket(path: String)
    }

    package var address: Address
    package var access: Access
    /// Whether there is a panel, and not only health and metrics.
    package var showsPanel: Bool
    package var version: String
    /// Whether metrics have instances' names as labels.
    package var namesInstances: Bool
    /// nil where workers' messages are not relayed.
    package var relay: RelayConfiguration?

    package init(
      address: Address, access: Access, showsPanel: Bool = true, version: String,
      namesInstances: Bool = false, relay: RelayConfiguration? = nil
    ) {
      self.address = address
      self.access = access
      self.showsPanel = showsPanel
      self.version = version
      self.namesInstances = namesInstances
      self.relay = relay
    }
  }

  /// How long what is under way may go on once the end was asked for.
  private static let grace = Duration.seconds(4)
  /// An answer of Redis that takes longer is none.
  private static let maxAnswer = Duration.seconds(2)
  /// Leases that were read within this time need not be read again for a page.
  private static let leaseAge = Duration.seconds(1)

  let configuration: Configuration
  let hub: Hub
  let client: RedisClient
  let streams: EventStreams
  let delays = DelayHistogram()
  let logins: Logins?
  let failures: FailureLimit
  let pages = PageCache()
  let relay: Relay?
  private let thread: ConnectionThread
  private let leaseReading = Mutex<Task<Void, Never>?>(nil)

  /// - Parameters:
  ///   - app: whose bus; nil for the first that appears.
  ///   - channel: nil for the bus's own.
  ///   - notify: is told what a person may want to know of the watch.
  package init(
    _ configuration: Configuration, connector: RedisConnector, app: String?, channel: String?,
    notify: @escaping @Sendable (Watcher.Notice) -> Void
  ) throws(RelayChannelFault) {
    self.configuration = configuration
    relay = try configuration.relay.map { (relay) throws(RelayChannelFault) in
      try Relay(relay, app: app ?? Keys.defaultApp, connector: connector)
    }
    thread = connector.thread
    var options = Watcher.Options.roster
    options.channel = channel
    options.keepsEnded = true
    let keys = PanelKeys(app: app ?? Keys.defaultApp)
    var asking = connector.routed(to: Keys(app: keys.app).bus)
    // Each request may ask several times, and a person waits for its answer.
    asking.timeout = min(connector.timeout, Self.maxAnswer)
    client = RedisClient(asking)
    let told = StreamNotices()
    hub = Hub(
      Watcher(app: app, connector: connector, options: options) { notice in
        notify(notice)
        told.tell(notice)
      })
    streams = EventStreams(hub: hub, client: client, thread: thread)
    logins = configuration.access.password.map {
      [client] in Logins(client: client, keys: keys, password: $0)
    }
    failures = FailureLimit(client: client, keys: keys, thread: thread)
    told.set(streams, on: thread.loop)
  }

  /// Watches and serves until the task is cancelled; then ends its connections in good order.
  ///
  /// - Parameter listening: called with the port once it listens; nil for a Unix socket.
  /// - Throws: `PresenceError` when the first contact fails, ``ListenError`` where the address cannot be had.
  package func run(_ listening: @escaping @Sendable (Int?) -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.hub.run { self.tell($0) } }
      if let relay { group.addTask { try await relay.run() } }
      group.addTask {
        for await _ in self.hub.changes() {
          if case .connecting = self.hub.state.connection { continue }
          break
        }
        try Task.checkCancellation()
        // The watch has failed, and its error ends all.
        if case .connecting = self.hub.state.connection { return }
        let server = HTTPServer(site: self, thread: self.thread)
        try await server.run(at: self.serverAddress, grace: Self.grace) { listening($0?.port) }
      }
      defer { group.cancelAll() }
      try await group.next()
    }
    await client.close()
  }

  /// From now on other secrets verify the cookies of the relay.
  package func renew(_ secrets: SessionSecrets) { relay?.renew(secrets) }

  private var serverAddress: HTTPServer.Address {
    switch configuration.address {
    case .tcp(let host, let port): .tcp(host: host, port: port)
    case .unixSocket(let path): .unixSocket(path: path)
    }
  }

  private func tell(_ batch: [WatchOutput]) {
    streams.push(batch)
    guard let now = hub.state.now else { return }
    for case .event(let event, .live) in batch { delays.add(milliseconds: now - event.at) }
  }

  /// The hub's state with the leases as they are now, where Redis can be asked.
  func freshState() async -> HubState {
    let state = hub.state
    guard let app = state.app, state.connection.isConnected else { return state }
    if let read = state.leasesRead, ContinuousClock.now - read.answered < Self.leaseAge {
      return state
    }
    // Many readers at once wait for one reading.
    let reading = leaseReading.withLock { reading in
      if let reading { return reading }
      let new = Task(executorPreference: thread.executor) {
        let keys = Keys(app: app)
        let leases = try? await self.client.withConnection {
          try await Leases.read(keys: keys, on: $0)
        }
        if let leases { self.hub.renew(leases) }
        self.leaseReading.withLock { $0 = nil }
      }
      reading = new
      return new
    }
    await reading.value
    return hub.state
  }
}

/// Hands on to the streams that the watch's connection broke or is back.
private final class StreamNotices: Sendable {
  private let target = Mutex<(streams: EventStreams, loop: any EventLoop)?>(nil)

  func set(_ streams: EventStreams, on loop: any EventLoop) {
    target.withLock { $0 = (streams, loop) }
  }

  func tell(_ notice: Watcher.Notice) {
    let word: String
    switch notice {
    case .connectionLost: word = "lost"
    case .connectionBack: word = "back"
    case .waitingForBus, .watching, .cannotReap, .otherApp, .manyOtherApps: return
    }
    guard let (streams, loop) = target.withLock({ $0 }) else { return }
    loop.execute { streams.push(connection: word) }
  }
}
