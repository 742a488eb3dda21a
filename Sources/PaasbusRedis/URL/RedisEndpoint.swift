/// Where a Redis is and how to log in there: what a URL says, as a value.
public struct RedisEndpoint: Sendable, Hashable {
  /// A host and a port of TCP.
  public struct Host: Sendable, Hashable {
    /// A name or an address, without brackets.
    public var name: String
    /// From 1 to 65535.
    public var port: Int

    /// The usual port unless another is given.
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
  /// Whether the URL itself switches off the check of the certificate.
  public var skipsTLSVerification: Bool
  /// nil where it is missing or empty.
  public var username: String?
  /// The user in the server's ACL as which a connection logs in; without a name, that is `default`.
  package var user: String { username ?? "default" }
  /// nil where it is missing or empty.
  public var password: String?
  /// The number of the database.
  public var database: Int
  /// How to log in to sentinels; the master's own login unless another is given.
  public var sentinelLogin: (username: String?, password: String?) {
    (sentinelUsername ?? username, sentinelPassword ?? password)
  }
  /// nil for the same as the master's.
  public var sentinelUsername: String?
  /// nil for the same as the master's.
  public var sentinelPassword: String?
  /// Names of query items that we do not know.
  public var ignoredQueryItems: [String]

  /// An endpoint made of its parts.
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

  /// The URL in a form that may be shown. The password is `***`, and everything except plain ASCII
  /// is percent-encoded, so that the URL can be read again and has no effect on a terminal.
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
    let spared = Array("-._~".utf8) + sparing.utf8
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

/// An endpoint that is turned into text by chance, in a log or a debugger, does not show its
/// password either.
extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// Without the password.
  public var description: String { redactedURL }
  /// Without the password.
  public var debugDescription: String { redactedURL }
  /// Without the password.
  public var customMirror: Mirror { Mirror(self, children: ["url": redactedURL]) }
}
