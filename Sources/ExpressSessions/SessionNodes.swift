import PaasbusRedis

/// Connections to the servers that hold the sessions: one, or each master of a cluster.
struct SessionNodes: Sendable {
  let connections: [RedisConnection]
  let isCluster: Bool

  /// Runs `body` with connections, which are closed afterwards.
  ///
  /// - Throws: `RedisError`, or what `body` throws.
  static func with<Result>(
    _ connector: RedisConnector, _ body: (SessionNodes) async throws -> Result
  ) async throws -> Result {
    var connections: [RedisConnection] = []
    do {
      let first = try await connector.connect()
      connections.append(first)
      let masters = try await connector.masters(knownBy: first)
      if !masters.isEmpty {
        await connections.removeFirst().close()
        for master in masters { connections.append(try await master.connect()) }
      }
      let result = try await body(
        SessionNodes(connections: connections, isCluster: !masters.isEmpty))
      for connection in connections { await connection.close() }
      return result
    } catch {
      for connection in connections { await connection.close() }
      throw error
    }
  }

  /// The keys that each connection is to be asked for.
  ///
  /// - Throws: `RedisError`.
  func assigned(_ keys: [[UInt8]]) async throws -> [(RedisConnection, [[UInt8]])] {
    guard isCluster else { return connections.map { ($0, keys) } }
    var assigned: [(RedisConnection, [[UInt8]])] = []
    for connection in connections {
      // Another node than the one that owns a key answers with a redirection.
      let replies = try await connection.pipeline(keys.map { RedisCommand("EXISTS", key: $0) })
      assigned.append(
        (connection, zip(keys, replies).filter { $1.integer != nil }.map(\.0)))
    }
    return assigned
  }

  // MARK: Reading

  /// The most bytes of values that one command asks for.
  private static let maxValues = 1024 * 1024

  /// What is stored under the keys, in their order; without those that are not there.
  ///
  /// - Throws: `RedisError`.
  func read(
    _ keys: [[UInt8]], prefix: [UInt8], on connection: RedisConnection
  ) async throws -> [Session] {
    // The sizes first, so that no large value is transferred.
    let figures = try await connection.pipeline(
      keys.map { RedisCommand("STRLEN", key: $0) } + keys.map { RedisCommand("PTTL", key: $0) })
    var found: [(key: [UInt8], size: Int?, left: Int64?)] = []
    for (index, key) in keys.enumerated() {
      let (size, left) = (figures.at(index) ?? .null, figures.at(keys.count + index) ?? .null)
      guard let left = try left.get().integer, left != -2 else { continue }
      if case .error(let text) = size, ErrorReply(text).meaning != .wrongType { try size.get() }
      found.append((key, size.integer.map(Int.init), left < 0 ? nil : left))
    }
    let readable = found.filter { $0.size.map { $0 <= JSONDocument.maxSize } ?? false }
    let values = try await values(readable.map { ($0.key, $0.size ?? 0) }, on: connection)
    return found.compactMap { key, size, left in
      let id = SessionID(key.dropFirst(prefix.count))
      guard let size else {
        return Session(id: id, size: nil, left: left, content: .failure(.otherType))
      }
      guard size <= JSONDocument.maxSize else {
        return Session(id: id, size: size, left: left, content: .failure(.tooLarge))
      }
      guard let value = values[key] else { return nil }
      return Session(
        id: id, size: value.count, left: left,
        content: Result { () throws(SessionContent.Fault) in try SessionContent(value) })
    }
  }

  private func values(
    _ keys: [(key: [UInt8], size: Int)], on connection: RedisConnection
  ) async throws -> [[UInt8]: [UInt8]] {
    var values: [[UInt8]: [UInt8]] = [:]
    var rest = keys[...]
    while !rest.isEmpty {
      var size = 0
      let page = rest.prefix {
        size += $0.size
        return size <= Self.maxValues
      }.map(\.key)
      rest = rest.dropFirst(page.count)
      let replies = try await connection.pipeline(
        isCluster ? page.map { RedisCommand("GET", key: $0) } : [RedisCommand("MGET", keys: page)])
      let all = isCluster ? replies : try (replies.first ?? .null).elements(to: "MGET")
      for (key, reply) in zip(page, all) { values[key] = try reply.get().bytes.map(Array.init) }
    }
    return values
  }

  // MARK: Scanning

  /// So many keys are looked at by one SCAN, which takes less than a millisecond.
  private static let scanCount = 1000

  /// The keys that begin with the prefix, page by page. Each comes once, if it is there all the time.
  ///
  /// - Throws: `RedisError`, or what `body` throws.
  func scan(
    prefix: [UInt8], _ body: (RedisConnection, ScannedKeys) async throws -> Void
  ) async throws {
    // SCAN may return a key several times. Hashes of all keys take little memory, and two that are equal by
    // chance do not happen.
    var seen: Set<Int> = []
    var scanned = 0
    let total = try await countKeys()
    for connection in connections {
      var cursor = Array("0".utf8)
      repeat {
        let reply = try await connection.send(
          RedisCommand(arguments: [
            Array("SCAN".utf8), cursor, Array("MATCH".utf8), Self.pattern(prefix),
            Array("COUNT".utf8), Array("\(Self.scanCount)".utf8),
          ]))
        let parts = try reply.elements(to: "SCAN", count: 2)
        guard let next = parts.first?.bytes else { throw RedisError(.unexpectedReply(to: "SCAN")) }
        cursor = Array(next)
        scanned += Self.scanCount
        let keys = try (parts.at(1) ?? .null).elements(to: "SCAN").compactMap { $0.bytes }
          .filter { $0.starts(with: prefix) && seen.insert($0.hashValue).inserted }.map(Array.init)
        let progress = total.map { min(1, Double(scanned) / Double(max(1, $0))) }
        try await body(connection, ScannedKeys(keys: keys, progress: progress))
      } while cursor != Array("0".utf8)
    }
  }

  /// How many keys there are, those of other programs among them; nil where that may not be asked.
  private func countKeys() async throws -> Int64? {
    var sum: Int64 = 0
    for connection in connections {
      let reply = try await connection.pipeline([RedisCommand("DBSIZE")]).first
      guard let count = reply?.integer, (0...Int64(Int32.max)).contains(count) else { return nil }
      sum += count
    }
    return sum
  }

  /// A glob that matches all keys with a prefix, whatever characters that has.
  private static func pattern(_ prefix: [UInt8]) -> [UInt8] {
    prefix.flatMap { byte in
      #"\*?[]^"#.utf8.contains(byte) ? [UInt8(ascii: "\\"), byte] : [byte]
    } + [UInt8(ascii: "*")]
  }
}

/// What a step of a scan found.
struct ScannedKeys: Sendable {
  /// The keys that were not found before; often none.
  var keys: [[UInt8]]
  /// How much of the keyspace has been looked at, up to 1; nil where that is not known.
  var progress: Double?
}

extension RedisCommand {
  init(_ name: String, key: [UInt8]) { self.init(name, keys: [key]) }

  init(_ name: String, keys: [[UInt8]]) { self.init(arguments: [Array(name.utf8)] + keys) }
}
