import PaasbusRedis
import Platforms
import Presence
import Terminal

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where Redis is and the identity of this instance, from the options and the environment.
struct Setup {
  let options: ConnectionOptions
  /// How long a connection and an answer may take.
  let timeout: Duration
  let environment: [String: String]
  let identity: PlatformIdentity
  let bootID: String
  let diagnostics: Diagnostics

  /// - Parameters:
  ///   - processID: the id of the process after which an instance is named.
  ///   - bootID: the id of an instance that already exists; nil for a new one.
  init(
    _ options: ConnectionOptions, timeout: Duration, processID: Int32 = Self.processID,
    bootID: String? = nil
  ) {
    self.options = options
    self.timeout = timeout
    environment = ProcessInfo.processInfo.environment
    self.bootID = bootID ?? InstanceID.make()
    let bootID = self.bootID
    identity = PlatformIdentity.detect(
      environment: environment, bootID: bootID, hostName: Machine.hostName, processID: processID)
    diagnostics = options.diagnostics
    reportSecrets()
  }

  static var processID: Int32 { getpid() }

  // MARK: Redis

  /// The connector for the configured Redis, or for the local bus.
  ///
  /// - Throws: ``Failure``, `RedisLocatorError`.
  func connector() async throws -> RedisConnector {
    guard let found = try discovery() else {
      return RedisConnector(endpoint: try await localEndpoint(), timeout: timeout)
    }
    report(found)
    return found.connector(timeout: timeout)
  }

  private func discovery() throws -> RedisDiscovery? {
    var choices = RedisDiscovery.Choices()
    choices.url = options.url
    choices.authorityFile = (options.tlsAuthority ?? variable("PAASBUS_TLS_CA")).map(Self.absolute)
    choices.certificateFile = options.tlsCertificate.map(Self.absolute)
    choices.keyFile = options.tlsKey.map(Self.absolute)
    choices.skipsTLSVerification = options.tlsInsecure
    do {
      return try RedisDiscovery(choices, environment: environment)
    } catch let error as TLSFileError {
      throw Failure(error, authority: options.tlsAuthority == nil ? "PAASBUS_TLS_CA" : "--tls-ca")
    }
  }

  private func report(_ found: RedisDiscovery) {
    let location = found.location
    for note in location.notes { diagnostics.note(.location(note)) }
    for name in location.trimmed { diagnostics.detail(.trimmed(variable: name)) }
    for item in location.endpoint.ignoredQueryItems where Self.isLogin(item) {
      diagnostics.note(.ignoredLogin(queryItem: item))
    }
    for item in location.endpoint.ignoredQueryItems where !Self.isLogin(item) {
      diagnostics.detail(.ignoredQueryItem(item, source: location.source))
    }
    // Only on a terminal, so that the errors of a script stay one line.
    if options.url != nil, location.endpoint.password != nil, StandardStreams.isTerminal(2) {
      diagnostics.note(.passwordOnCommandLine)
    }
    let files = [options.tlsAuthority, options.tlsCertificate, options.tlsKey]
    if found.tls == nil, options.tlsInsecure || files.contains(where: { $0 != nil }) {
      diagnostics.note(.uselessTLSOptions)
    }
    diagnostics.detail(.usingURL(source: location.source, url: location.endpoint.redactedURL))
  }

  private static func isLogin(_ queryItem: String) -> Bool {
    ["pass", "auth", "pw", "user"].contains { queryItem.lowercased().contains($0) }
  }

  private func localEndpoint() async throws -> RedisEndpoint {
    if let platform = identity.platform {
      let names = RedisLocator.variableNames.joined(separator: ", ")
      throw Failure(
        .configuration, "no Redis is configured on this \(platform) instance",
        remedy: "add one, or set one of \(names)")
    }
    let bus = try LocalBus(environment: environment)
    if try await !bus.isRunning() {
      guard (0...2).contains(where: { StandardStreams.isTerminal($0) }) else {
        throw Failure(
          .configuration, "no Redis is configured and no local bus is running",
          remedy: "give --url or PAASBUS_URL, or run 'paasbus local start'")
      }
      try await bus.start(idle: LocalBus.defaultIdle)
    }
    diagnostics.note(.usingLocalBus(socket: bus.socketPath))
    return bus.endpoint
  }

  /// The path in absolute form, since an announcer leaves the folder in which it was started.
  private static func absolute(_ path: String) -> String {
    guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
    defer { free(folder) }
    return String(cString: folder) + "/" + path
  }

  func variable(_ name: String) -> String? { environment.settled(name) }

  // MARK: Bus

  var channel: String? { options.channel ?? environment.settledName("PAASBUS_CHANNEL") }

  /// Reports variables that are ignored since they contain a secret.
  private func reportSecrets() {
    for name in ["PAASBUS_APP", "PAASBUS_CHANNEL"]
    where variable(name) != environment.settledName(name) {
      let kind = variable(name).flatMap { SecretKind(of: $0) }?.rawValue ?? "a secret"
      diagnostics.note(.ignoredSecret(variable: name, kind: kind))
    }
  }

  /// - Throws: `PresenceError` where another channel was asked for than the bus has.
  func check(channel own: String?, of app: String) throws {
    if let own, let asked = channel, own != asked {
      throw PresenceError.otherChannel(app: app, channel: own)
    }
  }

  /// The app as it was given or as the platform calls it, in the characters of keys.
  var app: String? {
    guard let given = options.app ?? environment.settledName("PAASBUS_APP") ?? identity.app else {
      return nil
    }
    let name = Keys.appName(from: given)
    if name != given { diagnostics.note(.renamedApp(given: given, name: name)) }
    return name
  }

  /// The app whose bus a reading command uses: the given app, or the only one on this Redis.
  ///
  /// - Returns: nil where none is known yet.
  /// - Throws: ``Failure`` where there are several, `RedisError`.
  func readableApp(by connector: RedisConnector) async throws -> String? {
    if let app { return app }
    let list = try await connector.routed(to: Keys.apps).withConnection {
      try await $0.send(RedisCommand("ZRANGE", Keys.apps, "0", "-1"))
    }
    let apps = try list.elements(to: "ZRANGE").compactMap(\.string).sorted()
    guard apps.count > 1 else {
      if let app = apps.first {
        diagnostics.note(.onlyBus(app: app))
      }
      return apps.first
    }
    throw Failure(
      .configuration, "several apps are on this Redis (\(apps.joined(separator: ", ")))",
      remedy: "choose one with --app")
  }
}
