import ExpressSessions
import NIOCore
import PaasbusRedis
import Synchronization

/// The relay of workers' messages to the browsers of their users. Lives on the thread of the connections.
final class Relay: Sendable {
  private struct State {
    var sockets: [ObjectIdentifier: RelaySocket] = [:]
    var users: [[UInt8]: Int] = [:]
    var figures = RelayFigures()
    /// Deliveries to sockets that have gone.
    var deliveries: Int64 = 0
    var isDraining = false
  }

  /// Within this time all sockets are told that the gateway ends.
  private static let drainTime = Duration.seconds(2)
  /// Without the sessions' Redis, sockets are held so long.
  private static let maxOutage = Duration.seconds(5)

  let configuration: RelayConfiguration
  let feed: RelayFeed
  private let sessions: SessionWatch
  private let secrets: Mutex<SessionSecrets>
  private let state: NIOLoopBoundBox<State>

  /// - Parameter app: whose keys the gateways share.
  init(
    _ configuration: RelayConfiguration, app: String, connector: RedisConnector
  ) throws(RelayChannelFault) {
    self.configuration = configuration
    let keys = RelayKeys(app: app)
    feed = RelayFeed(
      RelayFeed.Configuration(
        keys: keys, channel: try RelayChannel(configuration.channel, clock: keys.clock),
        maxMessage: configuration.maxMessage),
      connector: connector, notify: configuration.notify)
    sessions = SessionWatch(configuration.sessions, channel: keys.clock + ":sessions")
    secrets = Mutex(configuration.secrets)
    state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: connector.thread.loop)
  }

  /// From now on other secrets hold.
  func renew(_ secrets: SessionSecrets) { self.secrets.withLock { $0 = secrets } }

  /// Hears and watches until the task is cancelled.
  ///
  /// - Throws: `RedisError` when the first contact fails, ``RelayFeed/Fault``.
  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.feed.run() }
      group.addTask { try await self.sessions.run() }
      defer { group.cancelAll() }
      try await group.next()
      // The feed leaves what it knows before it returns.
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  var isReady: Bool { feed.isReady && sessions.outage == .zero && !state.value.isDraining }

  // MARK: Who asks

  /// What came of looking at a request's session.
  enum Standing: Sendable {
    case user([UInt8], SessionID)
    case nobody
    case tooMany
    case notReady
  }

  /// Whose session a request brings. It is not watched yet.
  func standing(of request: Request) async -> Standing {
    guard isReady else { return .notReady }
    guard let id = session(of: request) else { return .nobody }
    let asker = Asker()
    defer { sessions.leave(id, as: asker) }
    do {
      guard let user = try await sessions.watch(id, as: asker, ended: {}) else {
        state.value.figures.failures["no-user", default: 0] += 1
        return .nobody
      }
      guard feed.configuration.channel.canName(user.id) else { return .nobody }
      let isFull =
        state.value.sockets.count >= configuration.maxSockets
        || state.value.users[user.id] ?? 0 >= configuration.maxSocketsPerUser
      return isFull ? .tooMany : .user(user.id, id)
    } catch {
      return .notReady
    }
  }

  private final class Asker {}

  private func session(of request: Request) -> SessionID? {
    let header = request.headers["cookie"].joined(separator: "; ")
    guard let cookie = CookieHeader.value(of: configuration.cookie, in: header) else {
      state.value.figures.failures["no-cookie", default: 0] += 1
      return nil
    }
    guard let verified = secrets.withLock({ $0.verify(cookie) }) else {
      state.value.figures.failures["signature", default: 0] += 1
      return nil
    }
    return verified.id
  }

  // MARK: Sockets

  /// Takes a browser in; it is to be served next.
  func open(_ output: RelaySocket.Output, _ user: [UInt8], _ id: SessionID) -> RelaySocket {
    var owned: ObjectIdentifier?
    let socket = RelaySocket(
      user: user, session: id, output, thread: feed.connector.thread
    ) { [self] code in
      if let owned { remove(owned, code) }
    }
    owned = ObjectIdentifier(socket)
    state.value.sockets[ObjectIdentifier(socket)] = socket
    state.value.users[user, default: 0] += 1
    return socket
  }

  /// Serves a browser until it goes. Returns once it has caught up.
  func serve(_ socket: RelaySocket, since: RelayAttachment.Since?) async {
    // Many may have been let in at the same moment.
    guard state.value.sockets.count <= configuration.maxSockets,
      state.value.users[socket.user] ?? 0 <= configuration.maxSocketsPerUser
    else { return socket.close(.tooMany) }
    do {
      let now = try await sessions.watch(socket.session, as: socket) { [weak socket] in
        socket?.close(.sessionEnded)
      }
      guard !socket.isEnded else { return sessions.leave(socket.session, as: socket) }
      // It may have ended, or changed, since it was looked at.
      guard now?.id == socket.user else { return socket.close(.sessionEnded) }
      if configuration.touches { await sessions.touch(socket.session) }
    } catch {
      return socket.close(.noRedis)
    }
    await socket.run(feed, since: since)
    if let isRecovered = socket.isRecovered {
      state.value.figures.resumes[isRecovered, default: 0] += 1
    }
  }

  private func remove(_ id: ObjectIdentifier, _ code: WebSocketConnection.Code?) {
    guard let socket = state.value.sockets.removeValue(forKey: id) else { return }
    sessions.leave(socket.session, as: socket)
    socket.leave(feed)
    let left = (state.value.users[socket.user] ?? 1) - 1
    state.value.users[socket.user] = left > 0 ? left : nil
    state.value.deliveries += socket.deliveries
    if let code { state.value.figures.closes[code.rawValue, default: 0] += 1 }
  }

  /// Called every two seconds for each socket.
  func tick(_ socket: RelaySocket, _ now: NIODeadline) {
    if sessions.outage > Self.maxOutage { return socket.close(.noRedis) }
    socket.tick(now, at: feed.isReady ? feed.memory.position : nil)
    guard configuration.touches, socket.isTouchDue(now) else { return }
    let id = socket.session
    Task(executorPreference: feed.connector.thread.executor) { [sessions] in
      await sessions.touch(id)
    }
  }

  /// Tells a socket that the gateway ends, a moment later than others, so that not all come back at once.
  func drain(_ socket: RelaySocket) {
    state.value.isDraining = true
    let delay = Duration.milliseconds(Int.random(in: 0...Int(Self.drainTime.milliseconds)))
    let bound = NIOLoopBound(socket, eventLoop: feed.connector.thread.loop)
    feed.connector.thread.loop.scheduleTask(in: TimeAmount.milliseconds(delay.milliseconds)) {
      bound.value.close(.goingAway)
    }
  }

  // MARK: Figures

  var figures: RelayFigures {
    var figures = state.value.figures
    let heard = feed.figures
    (figures.sockets, figures.users) = (state.value.sockets.count, state.value.users.count)
    figures.delivered =
      state.value.deliveries + state.value.sockets.values.reduce(0) { $0 + $1.deliveries }
    (figures.messages, figures.fills, figures.gaps) = (heard.messages, heard.fills, heard.gaps)
    figures.ringSize = heard.ringSize
    figures.queueSize = state.value.sockets.values.reduce(0) { $0 + $1.queued }
    return figures
  }
}

/// Counts of a relay.
struct RelayFigures: Sendable {
  var sockets = 0
  var users = 0
  var messages: Int64 = 0
  var delivered: Int64 = 0
  /// By whether nothing was missing.
  var resumes: [Bool: Int64] = [:]
  var fills: Int64 = 0
  /// What waits for browsers, in bytes.
  var queueSize = 0
  var ringSize = 0
  var gaps: [RelayAttachment.Gap: Int64] = [:]
  var closes: [UInt16: Int64] = [:]
  var failures: [String: Int64] = [:]
}

/// How a relay is set up.
package struct RelayConfiguration: Sendable {
  /// Where the sessions of the app are.
  package var sessions: SessionStore
  package var secrets: SessionSecrets
  /// The name of the app's cookie.
  package var cookie = "connect.sid"
  /// The form of the workers' channels.
  package var channel = "JOB:{user}:{job}"
  /// Origins of pages on other hosts that may connect.
  package var origins: Set<String> = []
  /// In bytes.
  package var maxMessage = 128 * 1024
  package var maxSockets = 10_000
  package var maxSocketsPerUser = 16
  /// Whether an open socket prolongs its session, as requests do.
  package var touches = false
  var notify: @Sendable (RelayFeed.Notice) -> Void = { _ in }

  package init(sessions: SessionStore, secrets: SessionSecrets) {
    (self.sessions, self.secrets) = (sessions, secrets)
  }
}
