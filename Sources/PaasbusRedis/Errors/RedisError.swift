/// What went wrong between us and a Redis server: the cause, and which server it was.
///
/// Holds no words for a person; what to say and to do depends on the program.
public struct RedisError: Error, Hashable, Sendable {
  /// What went wrong.
  public enum Cause: Hashable, Sendable {
    // MARK: On the way to the server

    /// Nothing listens at the address.
    case connectionRefused
    /// Nothing answers to the attempt to connect.
    case connectTimeout
    /// The host's name does not resolve.
    case unresolved(host: String)
    /// No name server has said in time what the host's name stands for.
    case namesUnanswered(host: String)
    /// The system's own error (`errno`).
    case system(Int32)
    /// Another fault of the transport, in its own words.
    case transport(String)
    case tls(TLSFailure)

    // MARK: On a connection

    /// The server ended the connection.
    case closed
    /// The server ended the connection before it had said anything.
    case closedUnheard
    /// The server ended the connection instead of answering to one of these commands.
    case closedAsked([String])
    case noAnswer(within: Duration)
    /// The server answers, and the subscribed connection is silent.
    case silentSubscription

    // MARK: What the server says

    case reply(ErrorReply)
    /// What it says is not the Redis protocol, in the words of the reader.
    case notRedis(String)
    /// A reply has more bytes than this.
    case replyTooLarge(limit: Int)
    /// The reply to this command is none that it can have.
    case unexpectedReply(to: String)

    // MARK: What was configured, or a group of servers

    case noDatabase(Int)
    /// The sentinels know no master of this name.
    case unknownMaster(String)
    /// The master that the sentinels name is a replica.
    case masterIsReplica
    /// A cluster's nodes send us round in circles.
    case redirectionLoop
  }

  /// What a cause asks of whoever meets it.
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

  /// What it asks of whoever meets it.
  public var kind: Kind {
    switch cause {
    case .connectionRefused, .connectTimeout, .unresolved, .namesUnanswered, .system, .transport,
      .closed,
      .closedUnheard, .closedAsked, .noAnswer, .silentSubscription:
      .unreachable
    // Whoever does not answer may do so later.
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

  /// Whether the answer did not come in the time that it was waited for.
  package var isTimeout: Bool {
    if case .noAnswer = cause { true } else { false }
  }

  /// The same error with the server at which it happened, where that says something about it.
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
