import PaasbusRedis

/// A variable, or a group of them, that may name a Redis.
struct RedisProvider: Sendable {
  enum Reading: Sendable {
    case absent
    case endpoint(RedisEndpoint)
    /// It is set, but is the address of a REST interface.
    case restAddress
  }

  var name: String
  /// Whether it describes all services of an app, so that it may be set without any Redis.
  var isDescription = false
  /// The other variables that belong to it.
  var companions: [String] = []
  var read: @Sendable ([String: String]) throws(RedisLocatorError.Cause) -> Reading

  var variables: [String] { [name] + companions }

  /// A variable that holds a URL.
  static func url(_ name: String) -> RedisProvider {
    RedisProvider(name: name) { environment throws(RedisLocatorError.Cause) in
      guard let text = environment[name] else { return .absent }
      return .endpoint(try .read(text))
    }
  }

  /// Variables that hold host, port, user and password separately; `name` is the variable of the
  /// host.
  static func parts(
    host name: String, port: String, user: String? = nil, password: String
  ) -> RedisProvider {
    let companions = [port, user, password].compactMap(\.self)
    return RedisProvider(name: name, companions: companions) {
      environment throws(RedisLocatorError.Cause) in
      guard let host = environment[name] else { return .absent }
      let portText = environment[port]
      if let portText, !RedisParts.isPort(portText) { throw .port(variable: port) }
      guard host.contains("://") else {
        var parts = RedisParts(host: host)
        parts.port = portText
        parts.username = user.flatMap { environment[$0] }
        parts.password = environment[password]
        return .endpoint(try parts.endpoint())
      }
      var endpoint = try RedisEndpoint.read(host)
      if let portText { endpoint.setPort(portText, unlessNamedIn: host) }
      if endpoint.password == nil {
        endpoint.username = endpoint.username ?? user.flatMap { environment[$0] }
        endpoint.password = environment[password]
      }
      return .endpoint(endpoint)
    }
  }
}

/// All variables in the order in which they are tried, after `PAASBUS_URL`. Source: the add-ons'
/// pages.
enum RedisProviders {
  static let all: [RedisProvider] =
    [
      .url("REDISTOGO_URL"), .url("REDISCLOUD_URL"), .url("REDIS_TLS_URL"), .url("REDIS_URL"),
      .url("OPENREDIS_URL"), .url("REDISGREEN_URL"), .url("MYREDIS_URL"),
      .url("MEMETRIA_REDIS_URL"), .url("STACKHERO_REDIS_URL_TLS"), .url("SCALINGO_REDIS_URL"),
      .url("REDIS_PUBLIC_URL"), .url("REDIS_CLI_URL"), .url("VALKEY_URL"), upstash,
      ServiceBindings.cloudFoundry, ServiceBindings.platformSH,
    ] + [
      .parts(
        host: "OPENSHIFT_REDIS_HOST", port: "OPENSHIFT_REDIS_PORT", password: "REDIS_PASSWORD"),
      .parts(
        host: "OPENSHIFT_REDIS_DB_HOST", port: "OPENSHIFT_REDIS_DB_PORT",
        password: "OPENSHIFT_REDIS_DB_PASSWORD"),
      .parts(
        host: "REDIS_HOST", port: "REDIS_PORT", user: "REDIS_USER", password: "REDIS_PASSWORD"),
      .parts(host: "REDISHOST", port: "REDISPORT", user: "REDISUSER", password: "REDISPASSWORD"),
    ]

  /// Upstash also gives REST addresses under this name.
  private static let upstash = RedisProvider(name: "UPSTASH_REDIS_URL") {
    environment throws(RedisLocatorError.Cause) in
    guard let text = environment["UPSTASH_REDIS_URL"] else { return .absent }
    let scheme = text.prefix { $0 != ":" }.lowercased()
    if scheme == "http" || scheme == "https" { return .restAddress }
    return .endpoint(try .read(text))
  }
}

/// A Redis whose address comes in parts, unencoded.
struct RedisParts {
  var host: String
  var port: String?
  var usesTLS = false
  var username: String?
  var password: String?
  var database = 0

  init(host: String) {
    self.host = host
  }

  /// - Throws: `RedisLocatorError.Cause` where the host or the port is not valid.
  func endpoint() throws(RedisLocatorError.Cause) -> RedisEndpoint {
    // The other parts of a URL have their own variables here, so such a part in the host is a
    // mistake.
    guard !host.contains(where: { "/?#@".contains($0) }) else {
      throw .hostOnly
    }
    // The host and the port are checked by the parser of URLs.
    var address = host
    let isBareIPv6 = host.count { $0 == ":" } > 1 && !host.hasPrefix("[")
    if isBareIPv6 { address = "[\(host)]" }
    let hasPort = !isBareIPv6 && host.contains(":") && !host.hasSuffix("]")
    if let port, !hasPort { address += ":\(Self.number(port))" }
    var endpoint = try RedisEndpoint.read("redis://\(address)")
    endpoint.usesTLS = usesTLS
    endpoint.username = username.flatMap { $0.isEmpty ? nil : $0 }
    endpoint.password = password.flatMap { $0.isEmpty ? nil : $0 }
    endpoint.database = database
    return endpoint
  }

  static func isPort(_ text: String) -> Bool {
    let digits = number(text)
    return digits.allSatisfy { $0.isASCII && $0.isNumber }
      && (1...65_535).contains(Int(digits) ?? 0)
  }

  /// nil where it is not from 1 to 65535.
  fileprivate static func portNumber(_ text: String) -> Int? {
    Int(number(text)).flatMap { (1...65_535).contains($0) ? $0 : nil }
  }

  /// The port itself: Kubernetes and Docker links set `REDIS_PORT=tcp://10.0.0.1:6379` for a
  /// service of that name.
  private static func number(_ port: String) -> Substring {
    guard port.hasPrefix("tcp://"), let colon = port.lastIndex(of: ":") else { return port[...] }
    return port[port.index(after: colon)...]
  }
}

extension RedisEndpoint {
  /// Takes the port from a variable that is set in addition to a URL. A port in the URL itself
  /// wins.
  fileprivate mutating func setPort(_ text: String, unlessNamedIn url: String) {
    guard case .tcp(let host) = address, host == Host(name: host.name),
      !url.contains(":\(host.port)"), let port = RedisParts.portNumber(text)
    else { return }
    address = .tcp(Host(name: host.name, port: port))
  }

  static func read(_ url: String) throws(RedisLocatorError.Cause) -> RedisEndpoint {
    do {
      return try RedisEndpoint(url: url)
    } catch {
      throw .url(error)
    }
  }
}
