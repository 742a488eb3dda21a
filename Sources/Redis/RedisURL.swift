/// What is wrong with a URL, in words that hold nothing of its secrets.
public struct RedisURLError: Error, Hashable, Sendable, CustomStringConvertible {
  public var problem: String
  public var remedy: String

  public init(_ problem: String, remedy: String) {
    self.problem = problem
    self.remedy = remedy
  }

  public var description: String { "\(problem): \(remedy)" }

  static let shape = "write it as redis://USER:PASSWORD@HOST:PORT/DATABASE"
}

extension RedisEndpoint {
  /// Reads a URL as the providers write them.
  ///
  /// By hand, since Foundation's parser is lenient in the wrong places: it takes spaces and ports
  /// beyond 65535, and hides which part was wrong.
  ///
  /// - Throws: ``RedisURLError``.
  public init(url: String) throws(RedisURLError) {
    guard url.utf8.count <= 8192 else {
      throw RedisURLError("the URL is longer than 8 KiB", remedy: RedisURLError.shape)
    }
    guard !url.unicodeScalars.contains(where: { $0.value <= 0x20 || $0.value == 0x7F }) else {
      throw RedisURLError(
        "the URL holds spaces or control characters", remedy: "percent-encode or remove them")
    }
    let parts = try RedisURLParts(url)
    let scheme = try RedisScheme(parts.scheme)
    let login = try parts.login()
    let query = try RedisQuery(parts.query)
    switch scheme.kind {
    case .server:
      let host = try parts.host(parts.hosts, defaultPort: 6379)
      self.init(address: .tcp(host), usesTLS: scheme.usesTLS)
      if query.database == nil { database = try parts.database(in: parts.path.dropFirst()) }
    case .socket:
      self.init(address: .unixSocket(path: try parts.socketPath()), usesTLS: false)
    case .sentinel:
      let path = parts.path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
      guard let master = path.first, !master.isEmpty, path.count <= 2 else {
        throw RedisURLError(
          "the URL names no master", remedy: "write redis+sentinel://HOST:26379/MASTER")
      }
      var hosts: [Host] = []
      for text in parts.hosts.split(separator: ",", omittingEmptySubsequences: false) {
        hosts.append(try parts.host(text, defaultPort: 26379))
      }
      self.init(
        address: .sentinel(hosts: hosts, master: try RedisURLParts.decode(master)),
        usesTLS: scheme.usesTLS)
      if query.database == nil { database = try parts.database(in: path.at(1) ?? "") }
    }
    if let number = query.database { database = number }
    (username, password) = login
    skipsTLSVerification = query.skipsVerification
    ignoredQueryItems = query.ignored
  }
}

private struct RedisScheme {
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
      throw RedisURLError(
        "an \(text) URL is a REST address", remedy: "take the provider's redis:// or rediss:// URL")
    default:
      let known = text.count <= 20 && text.allSatisfy { $0.isLetter || $0.isNumber || $0 == "+" }
      throw RedisURLError(
        known ? "the scheme \(text) is unknown" : "the URL's scheme is unknown",
        remedy: "use redis://, rediss:// or unix://")
    }
  }
}

private struct RedisQuery {
  var database: Int?
  var skipsVerification = false
  var ignored: [String] = []

  init(_ text: Substring) throws(RedisURLError) {
    for item in text.split(separator: "&") {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let value = String(parts.at(1) ?? "").lowercased()
      switch String(parts.first ?? "") {
      case "db": database = try RedisURLParts.databaseNumber(value[...])
      case "tls" where value == "insecure", "ssl_cert_reqs" where value == "none",
        "skip_verify" where value == "true":
        skipsVerification = true
      case let name: ignored.append(String(name.prefix(40)))
      }
    }
  }
}

/// The pieces of a URL, still encoded.
private struct RedisURLParts {
  var scheme: String
  var userInfo: Substring?
  /// What stands between the user and the path.
  var hosts: Substring
  /// With its leading slash, or empty.
  var path: Substring
  var query: Substring

  init(_ url: String) throws(RedisURLError) {
    guard let marker = url.firstRange(of: "://") else {
      throw RedisURLError("the URL has no scheme", remedy: RedisURLError.shape)
    }
    scheme = url[..<marker.lowerBound].lowercased()
    var rest = url[marker.upperBound...]
    if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
    // A password may hold a bare `?` or `/`, so the user ends at the last `@` before the query
    // that follows the host.
    let authorityEnd = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    let at = rest[..<authorityEnd].lastIndex(of: "@") ?? Self.lateAt(rest)
    userInfo = at.map { rest[..<$0] }
    if let at { rest = rest[rest.index(after: at)...] }
    let question = rest.firstIndex(of: "?")
    query = question.map { rest[rest.index(after: $0)...] } ?? ""
    rest = rest[..<(question ?? rest.endIndex)]
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    (hosts, path) = (rest[..<slash], rest[slash...])
  }

  /// The `@` of a URL whose password holds a bare slash or question mark.
  private static func lateAt(_ rest: Substring) -> Substring.Index? {
    guard let colon = rest.firstIndex(of: ":"), let at = rest.lastIndex(of: "@"), colon < at,
      !rest.hasPrefix("/")
    else { return nil }
    return at
  }

  func login() throws(RedisURLError) -> (user: String?, password: String?) {
    guard let userInfo, !userInfo.isEmpty else { return (nil, nil) }
    guard let colon = userInfo.firstIndex(of: ":") else {
      return (nil, try Self.decode(userInfo))
    }
    let user = try Self.decode(userInfo[..<colon])
    let password = try Self.decode(userInfo[userInfo.index(after: colon)...])
    return (user.isEmpty ? nil : user, password.isEmpty ? nil : password)
  }

  func host(
    _ text: Substring, defaultPort: Int
  ) throws(RedisURLError) -> RedisEndpoint.Host {
    var (name, port) = (text, Substring("\(defaultPort)"))
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else {
        throw RedisURLError("a bracket of the URL is not closed", remedy: RedisURLError.shape)
      }
      name = text[text.index(after: text.startIndex)..<end]
      let behind = text[text.index(after: end)...]
      guard behind.isEmpty || behind.hasPrefix(":") else {
        throw RedisURLError(
          "something stands between the host and the port", remedy: RedisURLError.shape)
      }
      if behind.count > 1 { port = behind.dropFirst() }
    } else if let colon = text.lastIndex(of: ":") {
      name = text[..<colon]
      guard !name.contains(":") else {
        throw RedisURLError(
          "the URL's host holds colons", remedy: "put an IPv6 address into brackets")
      }
      port = text[text.index(after: colon)...]
      if port.isEmpty { port = "\(defaultPort)" }
    }
    guard !name.isEmpty else {
      throw RedisURLError("the URL names no host", remedy: RedisURLError.shape)
    }
    guard port.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(port),
      (1...65535).contains(number)
    else {
      throw RedisURLError(
        "the URL's port is no number from 1 to 65535", remedy: RedisURLError.shape)
    }
    return RedisEndpoint.Host(name: try Self.decode(name), port: number)
  }

  func database(in text: Substring) throws(RedisURLError) -> Int {
    let digits = text.hasSuffix("/") ? text.dropLast() : text
    return digits.isEmpty ? 0 : try Self.databaseNumber(digits)
  }

  static func databaseNumber(_ text: Substring) throws(RedisURLError) -> Int {
    guard !text.isEmpty, text.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(text),
      number <= Int(Int32.max)
    else {
      throw RedisURLError(
        "the URL's database is no whole number", remedy: "end it with /0 or leave it away")
    }
    return number
  }

  func socketPath() throws(RedisURLError) -> String {
    let path = try Self.decode(path)
    guard hosts.isEmpty, path.count > 1 else {
      throw RedisURLError(
        "the URL has no absolute path of a socket", remedy: "write it as unix:///PATH")
    }
    guard path.utf8.count <= 107 else {
      throw RedisURLError(
        "the socket's path is longer than 107 bytes", remedy: "choose a shorter one")
    }
    return path
  }

  /// Decodes `%41`; `+` stays `+`.
  static func decode(_ text: Substring) throws(RedisURLError) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      let digits = String(decoding: rest.prefix(2), as: UTF8.self)
      guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
        let decoded = UInt8(digits, radix: 16), decoded != 0
      else {
        throw RedisURLError(
          "the URL's percent-encoding is broken", remedy: "write a bare % as %25")
      }
      bytes.append(decoded)
      rest = rest.dropFirst(2)
    }
    guard let decoded = String(validating: bytes, as: UTF8.self) else {
      throw RedisURLError("the URL is no UTF-8 once decoded", remedy: "encode it as UTF-8")
    }
    return decoded
  }
}
