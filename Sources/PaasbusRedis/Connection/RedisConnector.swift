import NIOCore
import NIOPosix
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Makes connections to one endpoint, ready for use: encrypted, authenticated, named.
public struct RedisConnector: Sendable {
  /// The server, or the sentinels that know it.
  public var endpoint: RedisEndpoint
  /// nil for the authorities that this machine trusts.
  public var tls: RedisTLS?
  /// How long it may take to connect, and how long a reply may take.
  public var timeout: Duration
  /// What the connection is called in `CLIENT LIST`; not set where the server refuses.
  public var name: String?
  /// A key that will be used. In a cluster, the connection leads to the node that holds its slot.
  public var key: String?
  let nodes = RedisNodes()
  private let habits = ServerHabits()
  /// nil for the thread that all connectors without their own share.
  private let ownThread: ConnectionThread?
  /// The most bytes that one reply may have.
  public var replySizeLimit = 256 * 1024 * 1024

  /// Makes no connection yet.
  ///
  /// - Parameter eventLoop: where its connections live, and where the announcers and watchers that
  ///   use it do most of their work; nil for one of ours, which is made when it is first needed.
  public init(
    endpoint: RedisEndpoint, tls: RedisTLS? = nil, timeout: Duration = .seconds(5),
    name: String? = nil, eventLoop: (any EventLoop)? = nil
  ) {
    ownThread = eventLoop.map(ConnectionThread.init)
    self.endpoint = endpoint
    self.tls = tls
    self.timeout = timeout
    self.name = name
  }

  /// Where its connections live.
  package var thread: ConnectionThread { ownThread ?? .shared }

  /// Connects and logs in: in a cluster to the node that holds ``key``, with sentinels to their
  /// master.
  ///
  /// - Throws: ``RedisError``.
  package func connect() async throws -> RedisConnection {
    do {
      return try await route()
    } catch {
      if error is CancellationError { throw error }
      throw (error as? RedisError ?? RedisError(connecting: error)).at(endpoint)
    }
  }

  /// Connects to the endpoint's own address, without any routing, and logs in.
  func connectDirectly() async throws -> RedisConnection {
    try await connectDirectly(with: []).connection
  }

  /// Connects and logs in as well, with questions that are sent together with the login.
  ///
  /// - Returns: the replies as well, errors among them.
  func connectDirectly(
    with questions: [RedisCommand]
  ) async throws -> (connection: RedisConnection, answers: [RedisValue]) {
    do {
      return try await attempt(with: questions)
    } catch {
      if error is CancellationError { throw error }
      let error = error as? RedisError ?? RedisError(connecting: error)
      guard case .tls = error.cause else { throw error }
      guard error.kind == .tls, tls?.renew() == true else { throw await explained(error) }
      return try await attempt(with: questions)
    }
  }

  /// Connects and logs in. Where the server closes the connection meanwhile, this is tried once
  /// more without the commands that are not necessary: proxies and servers with only a part of the
  /// protocol close the connection at a command that they do not know (twemproxy at CLIENT and
  /// CLUSTER).
  private func attempt(
    with questions: [RedisCommand]
  ) async throws -> (connection: RedisConnection, answers: [RedisValue]) {
    let connection = try await open()
    let full = RedisLogin(endpoint: endpoint, name: name, questions: questions)
    do {
      return try await perform(full, withExtras: habits.takesExtras, on: connection)
    } catch {
      await connection.close()
      if let refusal = await refusal(behind: error) { throw refusal }
      guard habits.takesExtras, full.hasExtras, Self.isClosing(error) else {
        throw error
      }
    }
    let second = try await open()
    do {
      let result = try await perform(full, withExtras: false, on: second)
      habits.refusesExtras()
      return result
    } catch {
      await second.close()
      throw error
    }
  }

  /// Whether the other side ended the connection without saying why.
  private static func isClosing(_ error: any Error) -> Bool {
    switch (error as? RedisError)?.cause {
    case .closed, .closedUnheard: true
    default: false
    }
  }

  private func perform(
    _ login: RedisLogin, withExtras takesExtras: Bool, on connection: RedisConnection
  ) async throws -> (connection: RedisConnection, answers: [RedisValue]) {
    let (taken, answers) = try await (takesExtras ? login : login.bare).perform(on: connection)
    return (connection.loggedIn(taken, takesExtras: takesExtras), answers)
  }

  /// Runs `body` with a connection, which is closed afterwards.
  ///
  /// - Throws: ``RedisError``, or what `body` throws.
  package func withConnection<Result>(
    _ body: (RedisConnection) async throws -> Result
  ) async throws -> Result {
    let connection = try await connect()
    do {
      let result = try await body(connection)
      await connection.close()
      return result
    } catch {
      await connection.close()
      throw error
    }
  }

  /// The reason that a server sends when it closes each new connection.
  ///
  /// Such a server sends an error first and closes at once (`max number of clients reached`). If we
  /// send something meanwhile, the connection is reset and the error is lost. So this connection
  /// only listens.
  private func refusal(behind error: any Error) async -> RedisError? {
    guard let error = error as? RedisError, error.kind == .unreachable, !endpoint.usesTLS,
      !error.isTimeout, let connection = try? await open()
    else { return nil }
    do {
      try await connection.sleep(for: .milliseconds(300))
      await connection.close()
      return nil
    } catch {
      // A cancelled task leaves it open otherwise.
      await connection.close()
      guard let error = error as? RedisError, error.kind != .unreachable else { return nil }
      return error
    }
  }

  func open() async throws -> RedisConnection {
    let handshake = try endpoint.usesTLS ? TLSHandshake(self) : nil
    let (sizeLimit, limit) = (replySizeLimit, TimeAmount(timeout))
    // The handlers are kept from the start, since the pipeline of a channel that was closed at once
    // is empty. They are kept with their channel, since several addresses of a name may be tried. For so few, a
    // dictionary would only make the start slower.
    let handlers = Mutex<[(channel: ObjectIdentifier, handler: NIOLoopBound<RedisChannelHandler>)]>(
      [])
    let (answers, flood) = (AnswerTimes(), thread.flood)
    let bootstrap = ClientBootstrap(group: thread.loop)
      .connectTimeout(limit)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let records = try handshake?.begin(on: channel)
          let handler = RedisChannelHandler(
            sizeLimit: sizeLimit, records: records, answers: answers, flood: flood)
          let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
          handlers.withLock { $0.append((ObjectIdentifier(channel), bound)) }
          try channel.pipeline.syncOperations.addHandler(handler)
        }
      }
    let channel = try await connect(with: bootstrap)
    let opened = handlers.withLock { $0.last { $0.channel == ObjectIdentifier(channel) } }
    guard let handler = opened?.handler else { throw RedisError(.closed) }
    return RedisConnection(
      channel: channel, handler: handler, answers: answers, timeout: limit)
  }

  private func connect(with bootstrap: ClientBootstrap) async throws -> any Channel {
    let attempt: EventLoopFuture<any Channel>
    var resolver: HostResolver?
    switch endpoint.address {
    case .tcp(let host):
      if let address = try? SocketAddress(ipAddress: host.name, port: host.port) {
        attempt = bootstrap.connect(to: address)
      } else {
        let own = HostResolver(loop: thread.loop)
        resolver = own
        attempt = bootstrap.resolver(own).connect(host: host.name, port: host.port)
      }
    case .unixSocket(let path): attempt = bootstrap.connect(unixDomainSocketPath: path)
    case .sentinel: throw RedisError(.closed)
    }
    do {
      return try await attempt.cancellableValue()
    } catch {
      // A connection that is made after the wait has ended is of no use, so it is closed.
      attempt.whenSuccess { $0.close(promise: nil) }
      if let host = resolver?.pendingHost, !(error is CancellationError) {
        throw RedisError(.namesUnanswered(host: host))
      }
      throw error
    }
  }
}

/// What is known of how a server behaves; shared by all copies of a connector.
private final class ServerHabits: Sendable {
  private let refuses = Atomic(false)

  /// Whether a login may contain commands that are not necessary.
  var takesExtras: Bool { !refuses.load(ordering: .relaxed) }

  func refusesExtras() { refuses.store(true, ordering: .relaxed) }
}

extension TimeAmount {
  init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let whole = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    self = .nanoseconds(
      whole.overflow ? .max / 2 : min(whole.partialValue, .max / 2) + attoseconds / 1_000_000_000)
  }
}
