import Crypto
import PaasbusRedis

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The sessions of an Express app in Redis, as express-session and connect-redis keep them, in any of their
/// versions.
///
/// Each call makes connections of its own, in a cluster to all masters.
public struct SessionStore: Sendable {
  /// What the app's store puts before ids unless told otherwise.
  public static let usualPrefix = "sess:"

  /// Where Redis is.
  public let connector: RedisConnector
  /// What stands before an id in a key.
  public let prefix: String
  /// Where a session names its user.
  public let userPaths: UserPaths
  let prefixBytes: [UInt8]

  /// Makes no connection yet.
  public init(
    connector: RedisConnector, prefix: String = usualPrefix, userPaths: UserPaths = .usual
  ) {
    (self.connector, self.prefix, self.userPaths) = (connector, prefix, userPaths)
    prefixBytes = Array(prefix.utf8)
  }

  /// The key of a session.
  package func key(_ id: SessionID) -> [UInt8] { prefixBytes + id.bytes }

  // MARK: Reading

  /// The session of that name; nil where there is none.
  ///
  /// - Throws: `RedisError`.
  public func read(_ id: SessionID) async throws -> Session? {
    try await SessionNodes.with(connector) { try await read(id, at: $0) }
  }

  private func read(_ id: SessionID, at nodes: SessionNodes) async throws -> Session? {
    for (connection, keys) in try await nodes.assigned([key(id)]) where !keys.isEmpty {
      return try await nodes.read(keys, on: connection).first.map(session)
    }
    return nil
  }

  /// Some of the sessions, as they are found.
  public struct Page: Sendable {
    /// At most some thousand; often none.
    public var sessions: [Session]
    /// How much of the database has been looked at, up to 1; nil where that is not known.
    public var progress: Double?
  }

  /// All sessions, page by page, in no order. One that is there all the time comes once; one that comes or goes
  /// meanwhile, once or not at all.
  ///
  /// - Throws: `RedisError`, or what `receive` throws.
  public func forEachPage(_ receive: (Page) async throws -> Void) async throws {
    try await SessionNodes.with(connector) { nodes in
      try await scan(nodes) { _, page in
        try await receive(Page(sessions: page.content, progress: page.progress))
      }
    }
  }

  /// Reads all sessions, page by page.
  func scan(
    _ nodes: SessionNodes, receive: (RedisConnection, ScannedPage<[Session]>) async throws -> Void
  ) async throws {
    try await nodes.scan(
      prefix: prefixBytes, read: { try await nodes.read($1, on: $0) },
      receive: { try await receive($0, $1.map { $0.map(session) }) })
  }

  /// Reads what is stored.
  func session(_ stored: SessionNodes.Stored) -> Session {
    let content: Result<SessionContent, SessionContent.Fault>
    if stored.size == nil {
      content = .failure(.otherType)
    } else if let value = stored.value {
      content = Result { () throws(SessionContent.Fault) in try SessionContent(Array(value)) }
    } else {
      content = .failure(.tooLarge)
    }
    return Session(
      id: SessionID(stored.key.dropFirst(prefixBytes.count)), size: stored.size, left: stored.left,
      content: content, paths: userPaths)
  }

  /// The names of those sessions that are meant.
  ///
  /// - Returns: nil where nothing at all is under the prefix.
  /// - Throws: `RedisError`.
  public func ids(where isMeant: (SessionID) -> Bool) async throws -> [SessionID]? {
    var ids: [SessionID] = []
    var isEmpty = true
    try await SessionNodes.with(connector) { nodes in
      try await nodes.scan(prefix: prefixBytes, read: { $1 }) { _, page in
        if !page.isEmpty { isEmpty = false }
        ids += page.content.map { SessionID($0.dropFirst(prefixBytes.count)) }.filter(isMeant)
      }
    }
    return isEmpty ? nil : ids
  }

  // MARK: Writing

  /// Creates a session, which the app accepts together with its cookie (``SessionSecrets/cookie(for:)``). It has
  /// the member `paasbus`, by which it can be told from one of the app's own.
  ///
  /// - Parameters:
  ///   - members: a JSON object with the app's members, without `cookie`.
  ///   - maxAge: how long it lasts after its last request.
  /// - Throws: `RedisError`; ``SessionError`` where the members are not such an object.
  public func create(_ members: [UInt8], maxAge: Duration) async throws -> SessionID {
    try await SessionNodes.with(connector) { nodes in
      guard let first = nodes.connections.first else { throw RedisError(.closed) }
      let content = try await content(members, maxAge: maxAge, by: first)
      let id = SessionID.random()
      for (connection, keys) in try await nodes.assigned([key(id)]) where !keys.isEmpty {
        let reply = try await connection.send(
          RedisCommand(arguments: [
            Array("SET".utf8), key(id), content.bytes, Array("NX".utf8), Array("EX".utf8),
            Array("\(maxAge.wholeSeconds)".utf8),
          ]))
        guard case .status = reply else { throw RedisError(.unexpectedReply(to: "SET")) }
      }
      return id
    }
  }

  private func content(
    _ members: [UInt8], maxAge: Duration, by connection: RedisConnection
  ) async throws -> SessionContent {
    do {
      let document = try JSONDocument(members)
      guard document.root.kind == .object, document.member("cookie", of: document.root) == nil
      else { throw SessionError.unreadable(.notJSON) }
      let now = try await connection.send(RedisCommand("TIME")).serverTime
      return try SessionContent.new(
        members: document[document.root].dropFirst().dropLast(), maxAge: maxAge.wholeSeconds * 1000,
        now: now)
    } catch let fault as SessionContent.Fault {
      throw SessionError.unreadable(fault)
    } catch is JSONDocument.Fault {
      throw SessionError.unreadable(.notJSON)
    }
  }

  /// How a session was extended.
  public struct Extension: Sendable {
    /// The session as it was read before.
    public var before: Session
    /// How long it lasts now, in ms; nil where it does not end.
    public var left: Int64?
  }

  /// How often an app may get ahead of us.
  private static let maxAttempts = 5

  /// Lets a session last for so long from now on, and after each of the app's requests. A request of the app that
  /// is under way undoes it where it saves the session.
  ///
  /// A session without a time to live keeps none. A store with a `ttl` of its own undoes it at the next request: in
  /// connect-redis up to version 3, and as a function in 3 and 7 to 9.
  ///
  /// - Throws: `RedisError`, ``SessionError``.
  public func extend(_ id: SessionID, to maxAge: Duration) async throws -> Extension {
    try await SessionNodes.with(connector) { nodes in
      for _ in 0..<Self.maxAttempts {
        guard let session = try await read(id, at: nodes) else { throw SessionError.notFound }
        switch try await replace(session, maxAge: maxAge, at: nodes) {
        case "replaced":
          return Extension(
            before: session, left: session.left == nil ? nil : maxAge.wholeSeconds * 1000)
        case "gone": throw SessionError.notFound
        default: continue
        }
      }
      throw SessionError.keepsChanging
    }
  }

  private func replace(
    _ session: Session, maxAge: Duration, at nodes: SessionNodes
  ) async throws -> String? {
    do {
      let content = try session.content.get()
      for (connection, keys) in try await nodes.assigned([key(session.id)]) where !keys.isEmpty {
        let now = try await connection.send(RedisCommand("TIME")).serverTime
        let new = try content.extended(to: maxAge.wholeSeconds * 1000, now: now)
        return try await SessionScripts.replace.run(
          on: connection, keys: keys,
          arguments: [content.bytes, new.bytes, Array("\(maxAge.wholeSeconds)".utf8)]
        ).reply.string
      }
      return "gone"
    } catch let fault as SessionContent.Fault {
      throw SessionError.unreadable(fault)
    }
  }
}

/// The scripts of a store.
enum SessionScripts {
  static let replace = RedisScript(hashing: PackageResources.replace_lua)
  static let remove = RedisScript(hashing: PackageResources.remove_lua)
}

extension RedisScript {
  /// A script whose SHA-1 is computed.
  package init(hashing source: [UInt8]) {
    let digest = Insecure.SHA1.hash(data: source).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
    self.init(source: source, digest: digest)
  }
}

extension Duration {
  /// Rounded up, as connect-redis does it.
  var wholeSeconds: Int64 {
    let (seconds, attoseconds) = components
    return attoseconds > 0 ? seconds + 1 : seconds
  }
}
