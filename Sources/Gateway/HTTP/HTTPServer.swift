import NIOCore
import NIOHTTP1
import NIOPosix
import PaasbusRedis

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Listens, and has requests answered. All of it on one event loop.
final class HTTPServer: Sendable {
  /// What makes answers.
  protocol Site: Sendable {
    /// Called on the event loop; what takes long is answered ``Answer/later(_:)``.
    func answer(_ request: Request) -> Answer
    /// The answer to what is no request.
    ///
    /// - Parameter target: the address that was asked for, as far as it is known.
    func refusal(_ status: HTTPResponseStatus, target: String?) -> Response
  }

  enum Address: Sendable, Hashable {
    case tcp(host: String, port: Int)
    case unixSocket(path: String)
  }

  private static let backlog: CInt = 4096
  /// A reader that leaves more than this unread gets no more of what happens now.
  private static let maxUnread = 1024 * 1024

  private let site: any Site
  private let thread: ConnectionThread
  let connections: HTTPConnections

  init(site: any Site, thread: ConnectionThread) {
    self.site = site
    self.thread = thread
    connections = HTTPConnections(loop: thread.loop)
  }

  var executor: any TaskExecutor { thread.executor }

  func answer(_ request: Request) -> Answer { site.answer(request) }
  func refusal(_ status: HTTPResponseStatus, target: String?) -> Response {
    site.refusal(status, target: target)
  }

  /// Listens until the task is cancelled; then ends all connections, those with an answer under way once it is
  /// whole, and all after `grace`.
  ///
  /// - Parameter listening: called with the address once it listens.
  /// - Throws: ``ListenError`` where the address cannot be had.
  func run(
    at address: Address, grace: Duration, listening: (SocketAddress?) -> Void
  ) async throws {
    let channel: any Channel
    do {
      channel = try await bind(address)
    } catch {
      throw ListenError(error) ?? error
    }
    defer { if case .unixSocket(let path) = address { UnixSocketFile.remove(path) } }
    connections.limit(by: channel)
    listening(channel.localAddress)
    try? await withTaskCancellationHandler {
      try await channel.closeFuture.get()
    } onCancel: {
      channel.close(promise: nil)
    }
    await connections.drain(within: TimeAmount(grace))
  }

  private func bind(_ address: Address) async throws -> any Channel {
    let bootstrap = ServerBootstrap(group: thread.loop)
      .serverChannelOption(.backlog, value: Self.backlog)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(
        .writeBufferWaterMark, value: .init(low: Self.maxUnread / 4, high: Self.maxUnread)
      )
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try self.prepare(channel) }
      }
    switch address {
    case .unixSocket(let path):
      try UnixSocketFile.clear(path)
      return try await bootstrap.bind(unixDomainSocketPath: path).get()
    case .tcp(let host, let port):
      do {
        return try await bootstrap.bind(host: host, port: port).get()
      } catch let error as IOError where host == "::" && error.errnoCode == EAFNOSUPPORT {
        return try await bootstrap.bind(host: "0.0.0.0", port: port).get()
      }
    }
  }

  private func prepare(_ channel: any Channel) throws {
    var limits = NIOHTTPDecoderLimitConfiguration()
    limits.maxHeaderListSize = 2 * RequestRules.maxHead
    limits.maxHeaderFieldSize = 2 * RequestRules.maxHead
    limits.maxHeaderFieldCount = RequestRules.maxHeaders
    // A HEAD of a stream has neither a length nor chunks.
    var framing = HTTPResponseEncoder.Configuration()
    framing.automaticallySetFramingHeaders = false
    let connection = HTTPConnection(server: self)
    let decoder = ByteToMessageHandler(
      HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits))
    try channel.pipeline.syncOperations.addHandlers([
      BackPressureHandler(), FirstBytes(connection), HTTPResponseEncoder(configuration: framing),
      decoder,
      HTTPServerPipelineHandler(), connection,
    ])
  }
}

/// The open connections of a server.
final class HTTPConnections: Sendable {
  private struct State {
    var connections: [ObjectIdentifier: HTTPConnection] = [:]
    /// Where new connections come from, and whether none are taken at present.
    var listener: (any Channel)?
    var isFull = false
    var sweep: Scheduled<Void>?
    var date = HTTPDate()
    var drained: EventLoopPromise<Void>?
  }

  private static let sweepInterval = TimeAmount.seconds(2)
  /// Descriptors that are not for clients: those of Redis, of files, and of clients that come at the same moment.
  private static let reserve = 32

  private let loop: any EventLoop
  private let state: NIOLoopBoundBox<State>
  /// How many there may be. Without a bound of ours the system would refuse to accept, again and again, as long as
  /// clients wait.
  private let capacity = max(4, HTTPConnections.descriptorLimit - HTTPConnections.reserve)

  init(loop: any EventLoop) {
    self.loop = loop
    state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: loop)
  }

  private static var descriptorLimit: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    return Int(clamping: limit.rlim_cur)
  }

  /// Takes no new connections from a listening channel while there are as many as there may be.
  fileprivate func limit(by listener: any Channel) {
    loop.execute { self.state.value.listener = listener }
  }

  private func setFull(_ isFull: Bool) {
    guard isFull != state.value.isFull else { return }
    state.value.isFull = isFull
    state.value.listener?.setOption(.autoRead, value: !isFull).whenFailure { _ in }
  }

  /// The present time, as answers tell it.
  var date: String { state.value.date.now() }

  func add(_ connection: HTTPConnection) {
    state.value.connections[ObjectIdentifier(connection)] = connection
    if state.value.connections.count >= capacity { setFull(true) }
    // Without connections there is nothing to sweep, and no wake-up.
    if state.value.sweep == nil { scheduleSweep() }
  }

  func remove(_ connection: HTTPConnection) {
    state.value.connections[ObjectIdentifier(connection)] = nil
    if state.value.connections.count < capacity { setFull(false) }
    if state.value.connections.isEmpty { state.value.drained.take()?.succeed() }
  }

  private func scheduleSweep() {
    state.value.sweep = loop.scheduleTask(in: Self.sweepInterval) { self.sweep() }
  }

  private func sweep() {
    let now = NIODeadline.now()
    for connection in state.value.connections.values { connection.checkDeadline(now) }
    state.value.sweep = nil
    if !state.value.connections.isEmpty { scheduleSweep() }
  }

  /// Ends all connections, at the latest after `limit`.
  fileprivate func drain(within limit: TimeAmount) async {
    let done = loop.makePromise(of: Void.self)
    loop.execute {
      guard !self.state.value.connections.isEmpty else { return done.succeed() }
      self.state.value.drained = done
      for connection in self.state.value.connections.values { connection.drain() }
      self.loop.scheduleTask(in: limit) {
        for connection in self.state.value.connections.values { connection.close() }
      }
    }
    try? await done.futureResult.get()
  }
}
