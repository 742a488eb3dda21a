/// An error that a server replies, and what it means.
///
/// Source of the codes: Redis' `server.c` (`createSharedObjects`) and its ACL documentation.
public struct ErrorReply: Hashable, Sendable, CustomStringConvertible {
  /// What a reply means, independent of its words.
  public enum Meaning: Hashable, Sendable {
    /// The server accepts no further connection.
    case connectionLimit
    case passwordWanted
    case passwordRefused
    /// The user may not use a command, which is named where the server names it.
    case permissionMissing(command: String?)
    /// The user may use a command, but not with this key.
    case keyRefused
    /// The user may use a command, but not with this channel.
    case channelRefused
    /// The server is a replica.
    case replica
    /// The keys are, or will be, at another node of the cluster.
    case moved
    /// The server is loading, failing over or busy.
    case notReady
    /// The server's memory is full.
    case memoryFull
    /// The server cannot save to its disk.
    case cannotSave
    /// A key holds another type than it should.
    case wrongType
    /// The server has no such command.
    case unknownCommand(String)
    case other
  }

  /// The server's words, without the words that a script puts around them.
  public let text: String
  /// What it means.
  public let meaning: Meaning

  /// - Parameter reply: the text as it came, without the leading `-`.
  public init(_ reply: String) {
    let text = Self.withoutScript(reply)
    // An error inside a script comes with further words around its code.
    let refusal = text.firstRange(of: "NOPERM").map { String(text[$0.lowerBound...]) }
    self.text = refusal ?? text
    meaning = Self.meaning(self.text)
  }

  /// The server's words.
  public var description: String { text }

  var kind: RedisError.Kind {
    switch meaning {
    case .connectionLimit, .notReady, .memoryFull, .cannotSave: .unavailable
    case .passwordWanted, .passwordRefused, .permissionMissing, .keyRefused, .channelRefused:
      .refused
    case .replica, .moved: .wrongServer
    case .wrongType, .unknownCommand: .configuration
    case .other: .server
    }
  }

  private static func meaning(_ text: String) -> Meaning {
    if text.hasPrefix("NOPERM") || text.contains("The user executing the script can't")
      || text.contains("ACL failure in script")
    {
      if text.contains("channel") { return .channelRefused }
      if text.contains(" key") { return .keyRefused }
      // A command is named in quotes: the 'get' command.
      return .permissionMissing(command: text.split(separator: "'").at(1).map(String.init))
    }
    if text.contains("max number of clients reached") { return .connectionLimit }
    if let command = unknownCommand(text) { return .unknownCommand(command) }
    return switch text.prefix(while: { $0 != " " }) {
    case "NOAUTH": .passwordWanted
    case "WRONGPASS": .passwordRefused
    case "READONLY": .replica
    case "MOVED", "ASK": .moved
    case "OOM": .memoryFull
    case "MISCONF": .cannotSave
    case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "UNKILLABLE":
      .notReady
    case "WRONGTYPE": .wrongType
    default: .other
    }
  }

  /// The command that the reply calls unknown; our scripts have their own code for that.
  private static func unknownCommand(_ text: String) -> String? {
    if let own = text.firstRange(of: "NOCOMMAND ") {
      return String(text[own.upperBound...].prefix { $0.isLetter })
    }
    // ERR unknown command 'XADD', with args beginning with: …; before Redis 7 in backquotes.
    guard text.hasPrefix("ERR unknown command") else { return nil }
    return text.split { "'`".contains($0) }.at(1)?.uppercased()
  }

  /// Redis 6 puts words of its own in front of what went wrong in a script:
  /// `ERR Error running script (call to f_…): @user_script:17: OOM …`.
  private static func withoutScript(_ reply: String) -> String {
    // Redis 7 puts them behind it: `… script: adac12…, on @user_script:41.`
    if let behind = reply.ranges(of: " script: ").last, reply.contains("@user_script") {
      return String(reply[..<behind.lowerBound])
    }
    guard reply.hasPrefix("ERR Error running script") || reply.hasPrefix("@user_script"),
      let start = reply.ranges(of: "@user_script:").last?.upperBound
    else { return reply }
    let rest = reply[start...].drop { $0 == " " || $0.isNumber || $0 == ":" || $0 == "-" }
    return rest.count > 2 ? String(rest) : reply
  }
}
