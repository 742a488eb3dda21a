/// What is wrong with a URL; contains nothing of its secrets.
public enum RedisURLError: Error, Hashable, Sendable {
  case empty
  /// It has more than 8 KiB.
  case tooLong
  /// There is more than one URL.
  case severalURLs
  case severalHosts
  /// It holds spaces or control characters.
  case blanks
  /// It has no scheme; it may be the path of a socket.
  case noScheme(isPath: Bool)
  /// Its scheme is unknown; the scheme is given only where it is surely not part of a secret.
  case unknownScheme(String?)
  /// It is an `http` or `https` address, of a REST interface.
  case rest(scheme: String)
  case noHost
  /// Its host contains characters that no host may contain.
  case host
  /// Its host holds colons outside of brackets.
  case colons
  /// A bracket is not closed.
  case openBracket
  /// Something stands between the bracket and the port.
  case behindBracket
  /// There is an `@` after the host.
  case lateAt
  /// Its port is not a number from 1 to 65535.
  case port
  /// Its database is not a whole number.
  case database
  /// It names sentinels but no master.
  case noMaster
  /// It names no absolute path of a socket.
  case noSocketPath
  /// The path of the socket holds control characters.
  case controlsInPath
  /// The path of the socket has more than 107 bytes.
  case longPath
  /// Its percent-encoding is broken.
  case encoding
  /// It is not UTF-8 once decoded.
  case noUTF8
}
