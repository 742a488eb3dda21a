/// What is wrong with a URL; holds nothing of its secrets.
public enum RedisURLError: Error, Hashable, Sendable {
  case empty
  /// It has more than 8 KiB.
  case tooLong
  /// There is more than one.
  case severalURLs
  case severalHosts
  /// It holds spaces or control characters.
  case blanks
  /// It has no scheme; what stands there may be the path of a socket.
  case noScheme(isPath: Bool)
  /// Its scheme is unknown, and told where it is surely none of a secret.
  case unknownScheme(String?)
  /// It is an `http` or `https` address, of a REST interface.
  case rest(scheme: String)
  case noHost
  /// Its host holds what no host may hold.
  case host
  /// Its host holds colons outside of brackets.
  case colons
  /// A bracket is not closed.
  case openBracket
  /// Something stands between the bracket and the port.
  case behindBracket
  /// An `@` stands behind the host.
  case lateAt
  /// Its port is no number from 1 to 65535.
  case port
  /// Its database is no whole number.
  case database
  /// It names sentinels and no master.
  case noMaster
  /// It names no absolute path of a socket.
  case noSocketPath
  /// The path of the socket holds control characters.
  case controlsInPath
  /// The path of the socket has more than 107 bytes.
  case longPath
  /// Its percent-encoding is broken.
  case encoding
  /// It is no UTF-8 once decoded.
  case noUTF8
}
