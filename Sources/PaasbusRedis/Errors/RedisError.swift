/// What went wrong between us and a Redis server: the cause, and which server it was.
///
/// It contains no text for the user, since what to say and to do depends on the program.
public struct RedisError: Error, Hashable, Sendable {
  /// What went wrong.
  public enum Cause: Hashable, Sendable {
    // MARK: On the way to the server

    /// Nothing listens at the address.
    case connectionRefused
    /// No answer came to the attempt to connect.
    case connectTimeout
    /// The host's name does not resolve.
    case unresolved(host: String)
    /// No name server has answered in time with the host's addresses.
    case namesUnanswered(host: String)
    /// The system's own error (`errno`).
    case system(Int32)
    /// Another fault of the transport, in its own words.
    case transport(String)
    case tls(TLSFailure)

    // MARK: On a connection

    /// The server ended the connection.
    case closed
    /// The server ended the connection before it had sent anything.
    case closedUnheard
    /// The server ended the connection instead of answering to one of these commands.
    case closedAsked([String])
    case noAnswer(within: Duration)
    /// The server answers on another connection, but nothing comes on the subscribed one.
    case silentSubscription

    // MARK: What the server says

    case reply(ErrorReply)
    /// What the server sends is not the Redis protocol, in the words of the parser.
    case notRedis(String)
    /// A reply has more bytes than this.
    case replyTooLarge(limit: Int)
    /// The reply to this command has a form that it cannot have.
    case unexpectedReply(to: String)

    // MARK: What was configured, or a group of servers

    case noDatabase(Int)
    /// The sentinels know no master of this name.
    case unknownMaster(String)
    /// The master that the sentinels name is a replica.
    case masterIsReplica
    /// The nodes of a cluster redirect us to each other without end.
    case redirectionLoop
  }

  /// The kinds of causes, by how a caller has to react to them.
  public enum Kind: Hashable, Sendable {
    /// No connection could be made, or it broke, or no answer came in time.
    case unreachable
    /// The TLS handshake failed.
    case tls
    /// Credentials or permissions: trying again the same way cannot help.
    case refused
    /// The server says that it cannot do this just now (loading, failing over, full).
    case unavailable
    /// This server is not the one to ask: a replica, or a cluster's node without the key.
    case wrongServer
    /// Any other error reply.
    case server
    /// The peer does not speak the protocol, or a reply was larger than we take.
    case protocolViolation
    /// What was configured cannot work (a database that is not there, a missing command).
    case configuration
  }

  /// What went wrong.
  public let cause: Cause
  /// Which server it was, where the attempt to reach it failed.
  public private(set) var endpoint: RedisEndpoint?

  /// An error that is not tied to a server yet.
  public init(_ cause: Cause) {
    self.cause = cause
  }

  /// The kind of the cause, by which a caller decides how to react.
  public var kind: Kind {
    switch cause {
    case .connectionRefused, .connectTimeout, .unresolved, .namesUnanswered, .system, .transport,
      .closed,
      .closedUnheard, .closedAsked, .noAnswer, .silentSubscription:
      .unreachable
    // A server that does not answer may do so later.
    case .tls(.noAnswer), .tls(.ended): .unreachable
    case .tls: .tls
    case .reply(let reply): reply.kind
    case .notRedis, .replyTooLarge, .unexpectedReply: .protocolViolation
    case .noDatabase, .unknownMaster: .configuration
    case .masterIsReplica, .redirectionLoop: .wrongServer
    }
  }

  /// Whether the same attempt may succeed later.
  public var isTransient: Bool {
    kind == .unreachable || kind == .unavailable || kind == .wrongServer
  }

  /// Whether no answer came within the time limit.
  package var isTimeout: Bool {
    if case .noAnswer = cause { true } else { false }
  }

  /// The same error with the server at which it happened, where the server helps to understand it.
  func at(_ endpoint: RedisEndpoint) -> RedisError {
    guard kind != .refused, kind != .server, kind != .configuration, self.endpoint == nil else {
      return self
    }
    var copy = self
    copy.endpoint = endpoint
    return copy
  }

  /// An error reply as an error.
  package static func server(_ text: String) -> RedisError { RedisError(.reply(ErrorReply(text))) }
}

extension RedisError: CustomStringConvertible {
  /// The cause and the server, for a log; never a password.
  public var description: String {
    endpoint.map { "\(cause) (\($0.redactedURL))" } ?? "\(cause)"
  }
}
