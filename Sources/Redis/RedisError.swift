import NIOCore

/// What went wrong between us and a Redis server, as a value: the kind decides what to do, the
/// texts tell a person.
public struct RedisError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// No connection could be made, or it broke, or no answer came in time.
    case unreachable
    /// The TLS handshake failed.
    case tls
    /// Credentials or permissions: trying again the same way cannot help.
    case refused
    /// The server says that it cannot do this just now (loading, failing over, full).
    case passing
    /// This server is not the one to ask: a replica, or a cluster's node without the key.
    case elsewhere
    /// Any other error reply.
    case server
    /// The peer does not speak the protocol, or a reply was larger than we take.
    case nonsense
    /// What was configured cannot work (a database that is not there, a CA file).
    case configuration
  }

  public var kind: Kind
  /// What went wrong, without a final full stop.
  public var problem: String
  /// What to do about it.
  public var remedy: String
  /// Whether the answer did not come in the time that it was waited for.
  public private(set) var isTimeout = false

  public init(_ kind: Kind, _ problem: String, remedy: String) {
    self.kind = kind
    self.problem = problem
    self.remedy = remedy
  }

  public var description: String { "\(problem): \(remedy)" }

  /// Whether the same attempt may succeed later.
  public var isTransient: Bool {
    kind == .unreachable || kind == .passing || kind == .elsewhere
  }

  /// Sorts an error reply by its first word.
  ///
  /// Source of the codes: Redis' `server.c` (`createSharedObjects`) and its ACL documentation.
  public static func server(_ reply: String) -> RedisError {
    let reply = withoutScript(reply)
    let code = reply.prefix { $0 != " " }
    // Scripts hand their errors on with words of their own around the code.
    if let start = reply.firstRange(of: "NOPERM")?.lowerBound {
      return refused(reply[start...])
    }
    if reply.contains("The user executing the script can't") { return refused(reply[...]) }
    if reply.contains("max number of clients reached") {
      return RedisError(
        .passing, "Redis has no connection left: \(reply)",
        remedy: "close other clients or take a larger plan")
    }
    if let command = missingCommand(reply) {
      return RedisError(
        .configuration, "the server has no command \(command)",
        remedy: "allow it in the server's configuration (rename-command), or take another server")
    }
    switch code {
    case "NOAUTH":
      return RedisError(
        .refused, "Redis asks for a password", remedy: "put it into the URL (redis://:PASSWORD@…)")
    case "WRONGPASS":
      return RedisError(
        .refused, "Redis refuses the user name or password",
        remedy: "compare the URL with what the provider shows")
    case "READONLY":
      return RedisError(
        .elsewhere, "Redis answers \(reply)",
        remedy: "the address leads to a replica; use the master's")
    case "MOVED", "ASK":
      return RedisError(
        .elsewhere, "Redis answers \(reply)", remedy: "the cluster has moved these keys; try again")
    case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM",
      "MISCONF", "NOREPLICAS", "UNKILLABLE":
      return RedisError(.passing, "Redis answers \(reply)", remedy: passingRemedy(code))
    case "WRONGTYPE":
      return RedisError(
        .configuration, "a key of this bus holds something else: \(reply)",
        remedy: "choose another --app, or remove the key")
    default:
      return RedisError(
        .server, "Redis answers \(reply)", remedy: "see the server's log, or try another server")
    }
  }

  /// Redis 6 puts words of its own in front of what went wrong in a script:
  /// `ERR Error running script (call to f_…): @user_script:17: OOM …`.
  private static func withoutScript(_ reply: String) -> String {
    guard reply.hasPrefix("ERR Error running script") || reply.hasPrefix("@user_script"),
      let place = reply.ranges(of: "@user_script:").last?.upperBound
    else { return reply }
    let rest = reply[place...].drop { $0 == " " || $0.isNumber || $0 == ":" || $0 == "-" }
    return rest.count > 2 ? String(rest) : reply
  }

  /// The command that an error reply says to be unknown; our scripts say so with a code of their own.
  static func missingCommand(_ reply: String) -> String? {
    if let own = reply.firstRange(of: "NOCOMMAND ") {
      return String(reply[own.upperBound...].prefix { $0.isLetter })
    }
    // ERR unknown command 'XADD', with args beginning with: …; before Redis 7 in backquotes.
    guard reply.hasPrefix("ERR unknown command") else { return nil }
    return reply.split { "'`".contains($0) }.at(1)?.uppercased()
  }

  private static func refused(_ reply: Substring) -> RedisError {
    // A command is named in quotes: the 'get' command.
    let name = reply.split(separator: "'").at(1).map { " (ACL SETUSER USER +\($0))" } ?? ""
    return RedisError(
      .refused, "Redis refuses: \(reply)",
      remedy: "give this user the permission\(name); 'paasbus doctor' has all that is missing")
  }

  private static func passingRemedy(_ code: Substring) -> String {
    switch code {
    case "OOM": "the server's memory is full; free some or raise maxmemory"
    case "MISCONF": "the server cannot save to its disk; see its log"
    default: "wait until it is ready"
    }
  }

  static func protocolViolation(_ detail: String) -> RedisError {
    RedisError(
      .nonsense, "the server's answer is no Redis protocol (\(detail))",
      remedy: "check host and port of the URL")
  }

  static let closed = RedisError(
    .unreachable, "the connection to Redis was closed", remedy: "check that the server runs")

  static let closedUnheard = RedisError(
    .unreachable, "the server closed the connection without a word",
    remedy: "use rediss:// if its port is a TLS one, and check that it is a Redis")

  /// The server closed the connection instead of answering to one of these commands.
  static func closed(asked commands: [String]) -> RedisError {
    let names = commands.prefix(3).joined(separator: ", ")
    let (which, known) = commands.count == 1 ? (names, "it") : ("one of \(names)", "them")
    return RedisError(
      .unreachable, "the server closed the connection when it was asked for \(which)",
      remedy: "check that it runs, and that it and any proxy in front of it know \(known)")
  }

  /// Whether the other side ended the connection without saying why.
  var isClosing: Bool { self == .closed || self == .closedUnheard }

  static func timedOut(after timeout: Duration) -> RedisError {
    var error = RedisError(
      .unreachable, "Redis did not answer within \(text(timeout))",
      remedy: "check the server, or allow more with --timeout")
    error.isTimeout = true
    return error
  }

  private static func text(_ duration: Duration) -> String {
    let milliseconds = TimeAmount(duration).nanoseconds / 1_000_000
    return milliseconds < 1000 || milliseconds % 1000 != 0
      ? "\(milliseconds) ms" : "\(milliseconds / 1000) s"
  }

  static func replyTooLarge(limit: Int) -> RedisError {
    RedisError(
      .nonsense, "a reply is larger than \(limit / 1_048_576) MiB",
      remedy: "check what the server holds under this key")
  }
}
