/// Where a Redis is and how to log in there: what a URL says, as a value.
public struct RedisEndpoint: Sendable, Hashable {
  public struct Host: Sendable, Hashable {
    public var name: String
    public var port: Int

    public init(name: String, port: Int = 6379) {
      self.name = name
      self.port = port
    }
  }

  public enum Address: Sendable, Hashable {
    case tcp(Host)
    case unixSocket(path: String)
    /// The sentinels that know where the master of this name is.
    case sentinel(hosts: [Host], master: String)
  }

  public var address: Address
  public var usesTLS: Bool
  /// Whether the URL itself asks for no check of the certificate.
  public var skipsTLSVerification = false
  /// nil where there is none or it is empty.
  public var username: String?
  /// nil where there is none or it is empty.
  public var password: String?
  public var database: Int
  /// Names of query items that mean nothing to us.
  public var ignoredQueryItems: [String] = []

  public init(
    address: Address, usesTLS: Bool = false, username: String? = nil, password: String? = nil,
    database: Int = 0
  ) {
    self.address = address
    self.usesTLS = usesTLS
    self.username = username
    self.password = password
    self.database = database
  }

  /// The name of the server for TLS; nil on a Unix socket.
  public var hostName: String? {
    switch address {
    case .tcp(let host): host.name
    case .unixSocket: nil
    case .sentinel(let hosts, _): hosts.first?.name
    }
  }

  /// The URL as it may be shown: the password is `***`.
  public var redactedURL: String {
    var user = username.map { Self.escape($0) } ?? ""
    if password != nil { user += ":***" }
    if !user.isEmpty { user += "@" }
    let path = database == 0 ? "" : "/\(database)"
    let secure = usesTLS ? "s" : ""
    return switch address {
    case .tcp(let host): "redis\(secure)://\(user)\(Self.text(host))\(path)"
    case .unixSocket(let socket):
      "unix://\(user)\(socket)" + (database == 0 ? "" : "?db=\(database)")
    case .sentinel(let hosts, let master):
      "redis\(secure)+sentinel://\(user)\(hosts.map(Self.text).joined(separator: ","))"
        + "/\(master)\(path)"
    }
  }

  private static func text(_ host: Host) -> String {
    host.name.contains(":") ? "[\(host.name)]:\(host.port)" : "\(host.name):\(host.port)"
  }

  private static func escape(_ user: String) -> String {
    String(
      user.unicodeScalars.map {
        $0.value < 0x21 || "@:/%".unicodeScalars.contains($0) ? "?" : Character($0)
      })
  }
}
