import PaasbusRedis
import Platforms
import Presence
import Terminal

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Checks everything that paasbus needs, from the variable that names the Redis to a message that
/// is delivered, and names the cause of each problem. It ends where nothing further can be checked.
struct Examination {
  let setup: Setup
  /// Called with each finding as it is made.
  let tell: (Finding) throws -> Void

  /// - Throws: what `tell` throws.
  func run() async throws {
    guard let found = try await source(), try resolves(found.endpoint) else { return }
    let app = setup.app ?? "default"
    // In a cluster, the node that holds the bus is the server to check.
    let connector = found.routed(to: Keys(app: app).bus)
    let connection: RedisConnection
    do {
      let begun = ContinuousClock.now
      connection = try await connector.connect()
      try tell(.ok("connection", "connected in \(Self.milliseconds(.now - begun))"))
    } catch {
      return try tell(refusal(error, connector, app))
    }
    do {
      try login(connection, connector)
      try await ServerChecks(connection: connection, connector: connector).run(tell)
      let isReadable = try await PermissionChecks(connector: connector, app: app, setup: setup)
        .run(tell)
      let bus = BusChecks(connection: connection, connector: connector, setup: setup)
      try await bus.run(readsBus: isReadable, tell)
    } catch let error as RedisError {
      try tell(.fail("connection", error))
    }
    await connection.close()
  }

  static func milliseconds(_ duration: Duration) -> String {
    let micros = duration / .microseconds(1)
    return micros < 10_000 ? "\((micros / 100).rounded() / 10) ms" : "\(Int(micros / 1000)) ms"
  }

  // MARK: Which Redis

  private func source() async throws -> RedisConnector? {
    do {
      let location = try RedisLocator.locate(url: setup.options.url, environment: setup.environment)
      let connector = try await setup.connector()
      let name = location?.source ?? "local bus"
      try tell(.ok("source", "\(name): \(connector.endpoint.redactedURL)"))
      return connector
    } catch let error where !(error is OutputClosed) {
      try tell(.fail("source", error))
      return nil
    }
  }

  private func resolves(_ endpoint: RedisEndpoint) throws -> Bool {
    switch endpoint.address {
    case .unixSocket(let path):
      guard access(path, F_OK) == 0 else {
        try tell(
          .fail(
            "socket", "there is no socket at \(path) (\(String(cString: strerror(errno))))",
            remedy: "start the server, or correct the path"))
        return false
      }
    case .tcp(let host):
      let addresses: [String]
      do {
        addresses = try host.addresses()
      } catch {
        try tell(Self.unresolved(error, host))
        return false
      }
      if addresses != [host.name] {
        try tell(.ok("name", "\(host.name) is \(addresses.joined(separator: ", "))"))
      }
    case .sentinel: break
    }
    return true
  }

  private static func unresolved(_ error: RedisError, _ host: RedisEndpoint.Host) -> Finding {
    guard error.cause == .unresolved(host: host.name) else { return .fail("name", error) }
    return .fail(
      "name", "the name \(host.name) does not resolve",
      remedy: "correct the host in the URL, or this machine's name servers")
  }

  // MARK: Getting in

  /// What a failed first contact means.
  private func refusal(
    _ error: any Error, _ connector: RedisConnector, _ app: String
  ) -> Finding {
    guard let error = error as? RedisError else { return .fail("connection", error) }
    switch error.cause {
    case .connectionRefused:
      return .fail(
        "connection",
        "connection refused: nothing listens on this port",
        remedy: "start the server, or correct host and port of the URL")
    case .connectTimeout:
      return .fail(
        "connection", "no answer: a firewall drops the packets, or the host is down",
        remedy: "open the port to this machine in the firewall or the provider's security group")
    case .noDatabase: return .fail("database", error)
    case .reply(let reply):
      guard case .permissionMissing = reply.meaning else { break }
      // A user that may not even send the first commands lacks most permissions, and the reply does
      // not show which.
      return .fail(
        "permissions", Failure(error).problem,
        remedy: PermissionChecks.wholeRemedy(app: app, setup: setup, connector: connector))
    default: break
    }
    switch error.kind {
    case .tls: return .fail("tls", error)
    case .refused: return .fail("credentials", error)
    case .configuration: return .fail("commands", error)
    case .unavailable, .wrongServer, .server, .protocolViolation: return .fail("server", error)
    case .unreachable: return .fail("connection", error)
    }
  }

  private func login(_ connection: RedisConnection, _ connector: RedisConnector) throws {
    if connector.endpoint.usesTLS {
      try tell(
        connector.verifiesServer
          ? .ok("tls", "encrypted, and the certificate is trusted")
          : .warn(
            "tls",
            "encrypted, but the server's certificate is not checked: anyone could pose as the server",
            remedy: "give its authority with --tls-ca instead of --tls-insecure"))
    }
    switch connection.login {
    case .none: try tell(.ok("credentials", "none given, none needed"))
    case .asGiven: try tell(.ok("credentials", "accepted"))
    case .passwordAlone:
      let user = connector.endpoint.username ?? ""
      try tell(
        .ok("credentials", "the password alone is accepted; the user name \(user) is a placeholder")
      )
    case .notNeeded:
      try tell(
        .warn(
          "credentials", "a password was given, but the server needs none: everyone can connect",
          remedy: "set requirepass on the server"))
    }
  }
}
