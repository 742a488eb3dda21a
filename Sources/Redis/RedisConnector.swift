import NIOCore
import NIOPosix
import NIOSSL
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
  /// How TLS is set up where the endpoint asks for it.
  public struct TLSOptions: Sendable, Hashable {
    /// A PEM file with authorities to trust beside the system's.
    public var authorityFile: String?
    public var certificateFile: String?
    public var keyFile: String?
    public var skipsVerification = false

    public init() {}
  }

  public var endpoint: RedisEndpoint
  public var tls: TLSOptions
  /// How long connecting, and a reply, may take.
  public var timeout: Duration
  /// What the connection is called in `CLIENT LIST`; not set where the server refuses.
  public var name: String?
  /// A key that is used: in a cluster, the connection leads to whoever holds its slot.
  public var key: String?
  let nodes = RedisNodes()
  /// The most bytes that one reply may have.
  public var replySizeLimit = 256 * 1024 * 1024

  public init(
    endpoint: RedisEndpoint, tls: TLSOptions = TLSOptions(), timeout: Duration = .seconds(5),
    name: String? = nil
  ) {
    self.endpoint = endpoint
    self.tls = tls
    self.timeout = timeout
    self.name = name
  }

  /// The one event-loop thread of the process.
  static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  /// Connects and logs in, to whoever holds ``key`` and to the master that the sentinels know.
  ///
  /// - Throws: ``RedisError``.
  public func connect() async throws -> RedisConnection {
    do {
      return try await route()
    } catch {
      if error is CancellationError { throw error }
      throw (error as? RedisError ?? RedisError(connecting: error)).at(endpoint)
    }
  }

  /// Connects to the very address of the endpoint, and logs in.
  func connectDirectly() async throws -> RedisConnection {
    try await connectDirectly(with: []).connection
  }

  /// The same with questions that are asked at once.
  ///
  /// - Returns: the replies as well, errors among them.
  func connectDirectly(
    with questions: [RedisCommand]
  ) async throws -> (connection: RedisConnection, answers: [RedisValue]) {
    do {
      let connection = try await open()
      do {
        let (login, answers) = try await RedisLogin(
          endpoint: endpoint, name: name, questions: questions
        ).perform(on: connection)
        return (connection.loggedIn(login), answers)
      } catch {
        await connection.close()
        throw await refusal(behind: error) ?? error
      }
    } catch {
      if error is CancellationError { throw error }
      let error = error as? RedisError ?? RedisError(connecting: error)
      throw error == .untrusted ? await distrust() : error
    }
  }

  /// Why a certificate is not trusted, which the handshake does not tell: so it is looked at without
  /// trusting it, and without saying anything that is secret.
  private func distrust() async -> RedisError {
    var blind = self
    blind.tls.skipsVerification = true
    guard let connection = try? await blind.open() else { return .untrusted }
    _ = try? await connection.pipeline([RedisCommand("PING")])
    let found = try? await connection.channel.nioSSL_peerCertificate().get()
    await connection.close()
    guard let certificate = found, certificate.notValidAfter < time(nil) else { return .untrusted }
    return RedisError(
      .tls, "the server's certificate has expired",
      remedy: "renew it, or skip the check with --tls-insecure")
  }

  /// Runs `body` with a connection, which is closed afterwards.
  ///
  /// - Throws: ``RedisError``, or what `body` throws.
  public func withConnection<Result>(
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

  /// What a server that closes each new connection says of the reason.
  ///
  /// It speaks first and closes at once (`max number of clients reached`); where our own first words
  /// cross that, the reset of the connection takes its words away. So this one only listens.
  private func refusal(behind error: any Error) async -> RedisError? {
    guard (error as? RedisError)?.kind == .unreachable, !endpoint.usesTLS,
      let connection = try? await open()
    else { return nil }
    do {
      try await connection.sleep(for: .milliseconds(300))
      await connection.close()
      return nil
    } catch {
      guard let error = error as? RedisError, error.kind != .unreachable else { return nil }
      return error
    }
  }

  private func open() async throws -> RedisConnection {
    let context = try endpoint.usesTLS ? tlsContext() : nil
    let serverName = endpoint.hostName
    let (sizeLimit, limit) = (replySizeLimit, TimeAmount(timeout))
    // Kept from the start, since the pipeline of a channel that was closed at once is empty; by
    // channel, since a name with several addresses has several tried.
    let handlers = Mutex<[ObjectIdentifier: NIOLoopBound<RedisChannelHandler>]>([:])
    let answers = AnswerTimes()
    let bootstrap = ClientBootstrap(group: Self.group)
      .connectTimeout(limit)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let context {
            try channel.pipeline.syncOperations.addHandler(
              Self.tlsHandler(context: context, serverName: serverName))
          }
          let handler = RedisChannelHandler(
            sizeLimit: sizeLimit, expectsTLS: context != nil, answers: answers)
          let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
          handlers.withLock { $0[ObjectIdentifier(channel)] = bound }
          try channel.pipeline.syncOperations.addHandler(handler)
        }
      }
    let channel = try await connect(with: bootstrap)
    guard let handler = handlers.withLock({ $0[ObjectIdentifier(channel)] }) else {
      throw RedisError.closed
    }
    return RedisConnection(
      channel: channel, handler: handler, answers: answers, timeout: limit)
  }

  private func connect(with bootstrap: ClientBootstrap) async throws -> any Channel {
    let attempt: EventLoopFuture<any Channel>
    switch endpoint.address {
    case .tcp(let host):
      if let address = try? SocketAddress(ipAddress: host.name, port: host.port) {
        attempt = bootstrap.connect(to: address)
      } else {
        attempt = bootstrap.resolver(HostResolver(loop: Self.group.next()))
          .connect(host: host.name, port: host.port)
      }
    case .unixSocket(let path): attempt = bootstrap.connect(unixDomainSocketPath: path)
    case .sentinel: throw RedisError.closed
    }
    do {
      return try await attempt.cancellableValue()
    } catch {
      // Whoever waits no longer has no use for a connection that comes later.
      attempt.whenSuccess { $0.close(promise: nil) }
      throw error
    }
  }
}

extension RedisConnector {
  private func tlsContext() throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    if tls.skipsVerification || endpoint.skipsTLSVerification {
      configuration.certificateVerification = .none
    }
    do {
      if let file = tls.authorityFile {
        // Read here, so that a bad file is told apart from a bad server.
        let authorities = try NIOSSLCertificate.fromPEMFile(file)
        configuration.additionalTrustRoots = [.certificates(authorities)]
      }
      if let file = tls.certificateFile {
        configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(file)
          .map { .certificate($0) }
      }
      if let file = tls.keyFile {
        configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: file, format: .pem))
      }
      return try NIOSSLContext(configuration: configuration)
    } catch {
      let files = [tls.authorityFile, tls.certificateFile, tls.keyFile].compactMap { $0 }
      throw RedisError(
        .configuration, "the TLS files cannot be used (\(files.joined(separator: ", ")))",
        remedy: "give readable PEM files with --tls-ca, --tls-cert and --tls-key")
    }
  }

  private static func tlsHandler(
    context: NIOSSLContext, serverName: String?
  ) throws -> NIOSSLClientHandler {
    do {
      return try NIOSSLClientHandler(context: context, serverHostname: serverName)
    } catch {
      // An IP address is no name for SNI; the certificate is checked against the address.
      return try NIOSSLClientHandler(context: context, serverHostname: nil)
    }
  }
}

extension TimeAmount {
  init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let whole = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    self = .nanoseconds(
      whole.overflow ? .max / 2 : min(whole.partialValue, .max / 2) + attoseconds / 1_000_000_000)
  }
}
