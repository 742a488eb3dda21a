/// Where a Redis is and how to log in there: what a URL says, as a value.
public struct RedisEndpoint: Sendable, Hashable {
  /// A host and a port of TCP.
  public struct Host: Sendable, Hashable {
    /// A name or an address, without brackets.
    public var name: String
    /// From 1 to 65535.
    public var port: Int

    /// The usual port unless told.
    public init(name: String, port: Int = 6379) {
      self.name = name
      self.port = port
    }
  }

  /// Where a server is.
  public enum Address: Sendable, Hashable {
    case tcp(Host)
    case unixSocket(path: String)
    /// The sentinels that know where the master of this name is.
    case sentinel(hosts: [Host], master: String)
  }

  /// Where the server is.
  public var address: Address
  /// Whether connections are encrypted.
  public var usesTLS: Bool
  /// Whether the URL itself asks for no check of the certificate.
  public var skipsTLSVerification: Bool
  /// nil where there is none or it is empty.
  public var username: String?
  /// The user of the server's ACL that a connection is, with or without a name.
  package var user: String { username ?? "default" }
  /// nil where there is none or it is empty.
  public var password: String?
  /// The number of the database.
  public var database: Int
  /// How to log in to sentinels; the master's own login unless told.
  public var sentinelLogin: (username: String?, password: String?) {
    (sentinelUsername ?? username, sentinelPassword ?? password)
  }
  /// nil for the same as the master's.
  public var sentinelUsername: String?
  /// nil for the same as the master's.
  public var sentinelPassword: String?
  /// Names of query items that mean nothing to us.
  public var ignoredQueryItems: [String]

  /// An endpoint of its parts.
  public init(
    address: Address, usesTLS: Bool = false, skipsTLSVerification: Bool = false,
    username: String? = nil, password: String? = nil, database: Int = 0,
    ignoredQueryItems: [String] = []
  ) {
    self.address = address
    self.usesTLS = usesTLS
    self.skipsTLSVerification = skipsTLSVerification
    self.username = username
    self.password = password
    self.database = database
    self.ignoredQueryItems = ignoredQueryItems
  }

  /// The name of the server for TLS; nil on a Unix socket.
  public var hostName: String? {
    switch address {
    case .tcp(let host): host.name
    case .unixSocket: nil
    case .sentinel(let hosts, _): hosts.first?.name
    }
  }

  /// The URL as it may be shown: the password is `***`, and what is not plain ASCII comes
  /// percent-encoded, so that the URL can be read again and does nothing to a terminal.
  public var redactedURL: String {
    var user = username.map { Self.encode($0, sparing: "+") } ?? ""
    if password != nil { user += ":***" }
    if !user.isEmpty { user += "@" }
    let path = database == 0 ? "" : "/\(database)"
    let secure = usesTLS ? "s" : ""
    switch address {
    case .tcp(let host):
      return "redis\(secure)://\(user)\(Self.text(host))\(path)"
    case .unixSocket(let socket):
      let query = database == 0 ? "" : "?db=\(database)"
      return "unix://\(user)\(Self.encode(socket, sparing: "/:@+,="))\(query)"
    case .sentinel(let hosts, let master):
      let list = hosts.map(Self.text).joined(separator: ",")
      let name = Self.encode(master, sparing: ":+")
      return "redis\(secure)+sentinel://\(user)\(list)/\(name)\(path)"
    }
  }

  private static func text(_ host: Host) -> String {
    let name = encode(host.name, sparing: ":")
    return name.contains(":") ? "[\(name)]:\(host.port)" : "\(name):\(host.port)"
  }

  private static func encode(_ text: String, sparing: String) -> String {
    let spared = Set("-._~".utf8).union(sparing.utf8)
    let digits = Array("0123456789ABCDEF")
    return text.utf8.reduce(into: "") { encoded, byte in
      let character = Character(Unicode.Scalar(byte))
      let isPlain = byte < 0x80 && (character.isLetter || character.isNumber)
      if isPlain || spared.contains(byte) {
        encoded.append(character)
      } else {
        encoded += "%"
        encoded.append(contentsOf: [byte >> 4, byte & 15].compactMap { digits.at(Int($0)) })
      }
    }
  }
}

/// Text made of an endpoint by chance, in a log or a debugger, holds no password either.
extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// Without the password.
  public var description: String { redactedURL }
  /// Without the password.
  public var debugDescription: String { redactedURL }
  /// Without the password.
  public var customMirror: Mirror { Mirror(self, children: ["url": redactedURL]) }
}
