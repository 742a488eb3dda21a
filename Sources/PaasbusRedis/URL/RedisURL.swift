extension RedisEndpoint {
  /// Reads a URL as the providers write them.
  ///
  /// It does not use Foundation's parser, which is lenient in the wrong places: that accepts spaces
  /// and ports above 65535, and does not tell which part was wrong.
  ///
  /// - Throws: ``RedisURLError``.
  public init(url: String) throws(RedisURLError) {
    guard url.utf8.count <= 8192 else {
      throw .tooLong
    }
    guard
      url.occurrences(of: "://") < 2
        || !url.contains(where: { ",;|".contains($0) || $0.isWhitespace })
    else {
      throw .severalURLs
    }
    guard !url.unicodeScalars.contains(where: { $0.isSpace || $0.isControl }) else {
      throw .blanks
    }
    let parts = try RedisURLParts(url)
    let scheme = try RedisScheme(parts.scheme)
    let query = try RedisQuery(parts.query)
    let (address, path) = try parts.address(scheme.kind)
    let login = try parts.login()
    var database = query.database
    if database == nil { database = try RedisURLParts.database(in: path) }
    self.init(
      address: address, usesTLS: scheme.usesTLS || query.usesTLS && scheme.kind != .socket,
      skipsTLSVerification: query.skipsVerification,
      username: login.user, password: login.password,
      database: database ?? 0, ignoredQueryItems: query.ignored)
    sentinelUsername = query.sentinelUsername
    sentinelPassword = query.sentinelPassword
  }
}

struct RedisScheme {
  enum Kind { case server, socket, sentinel }

  var kind: Kind
  var usesTLS = false

  init(_ text: String) throws(RedisURLError) {
    switch text {
    case "redis", "valkey": kind = .server
    case "rediss", "valkeys": (kind, usesTLS) = (.server, true)
    case "unix", "redis+unix", "redis-socket": kind = .socket
    case "redis+sentinel": kind = .sentinel
    case "rediss+sentinel": (kind, usesTLS) = (.sentinel, true)
    case "http", "https":
      throw .rest(scheme: text)
    default:
      // Any other word may be part of a secret.
      throw .unknownScheme(Self.others.contains(text) ? text : nil)
    }
  }

  /// Schemes of other services, which a variable may hold by mistake.
  private static let others: Set = [
    "amqp", "amqps", "file", "ftp", "kafka", "memcached", "mongodb", "mongodb+srv", "mysql", "nats",
    "postgres", "postgresql", "redis+tls", "redis+tcp", "sqlite", "ssl", "tcp", "tls", "ws", "wss",
  ]
}

private struct RedisQuery {
  var database: Int?
  var usesTLS = false
  var skipsVerification = false
  var sentinelUsername: String?
  var sentinelPassword: String?
  var ignored: [String] = []

  init(_ text: Substring) throws(RedisURLError) {
    for item in text.split(separator: "&") {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let raw = parts.at(1) ?? ""
      let value = raw.lowercased()
      switch String(parts.first ?? "") {
      case "db": database = try RedisURLParts.databaseNumber(value[...])
      case "tls" where value == "insecure", "ssl_cert_reqs" where value == "none",
        "skip_verify" where value == "true":
        skipsVerification = true
      // Azure and StackExchange.Redis use these.
      case "ssl" where value == "true", "tls" where value == "true": usesTLS = true
      case "sentinel_username": sentinelUsername = try RedisURLParts.decode(raw)
      case "sentinel_password": sentinelPassword = try RedisURLParts.decode(raw)
      case let name: ignored.append(parts.count == 2 && Self.isName(name) ? name : "?")
      }
    }
  }

  /// Text that is not a name may be part of a secret, in a URL without the `@` that it should have.
  private static func isName(_ text: String) -> Bool {
    text.count <= 40
      && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
  }
}
