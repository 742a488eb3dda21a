import PaasbusRedis
import Synchronization

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

  /// What is stored under a key, before its content is read.
  struct Stored: Sendable {
    var key: [UInt8]
    /// nil where it is not a string.
    var size: Int?
    /// nil where it does not end.
    var left: Int64?
    /// nil where it is larger than what is read.
    var value: ArraySlice<UInt8>?
  }

  /// What is stored under the keys, in their order; without those that are not there.
  ///
  /// - Throws: `RedisError`.
  func read(_ keys: [[UInt8]], on connection: RedisConnection) async throws -> [Stored] {
    // The sizes first, so that no large value is transferred.
    let figures = try await connection.pipeline(
      keys.map { RedisCommand("STRLEN", key: $0) } + keys.map { RedisCommand("PTTL", key: $0) })
    var found: [Stored] = []
    for (index, key) in keys.enumerated() {
      let (size, left) = (figures.at(index) ?? .null, figures.at(keys.count + index) ?? .null)
      guard let left = try left.get().integer, left != -2 else { continue }
      if case .error(let text) = size, ErrorReply(text).meaning != .wrongType { try size.get() }
      found.append(
        Stored(key: key, size: size.integer.map(Int.init), left: left < 0 ? nil : left))
    }
    return try await readValues(of: found, on: connection)
  }

  private func readValues(
    of stored: [Stored], on connection: RedisConnection
  ) async throws -> [Stored] {
    var all = stored
    var rest = stored.indices.filter { (stored[$0].size ?? .max) <= JSONDocument.maxSize }[...]
    while !rest.isEmpty {
      var size = 0
      let page = rest.prefix {
        size += stored[$0].size ?? 0
        return size <= Self.maxValues
      }
      rest = rest.dropFirst(page.count)
      let keys = page.map { stored[$0].key }
      let replies = try await connection.pipeline(
        isCluster ? keys.map { RedisCommand("GET", key: $0) } : [RedisCommand("MGET", keys: keys)])
      let values = isCluster ? replies : try (replies.first ?? .null).elements(to: "MGET")
      for (index, value) in zip(page, values) { all[index].value = try value.get().bytes }
    }
    // What had a size that can be read, and is not there now, has ended meanwhile.
    return all.filter { $0.value != nil || ($0.size ?? .max) > JSONDocument.maxSize }
  }

  // MARK: Scanning

  /// So many keys are looked at by one SCAN, which takes less than a millisecond.
  private static let scanCount = 1000

  /// What `read` makes of the keys that begin with the prefix, page by page. Each key comes once, if it is there
  /// all the time.
  ///
  /// The next page is read while `receive` is busy with one.
  ///
  /// - Throws: `RedisError`, or what the two closures throw.
  func scan<Content: Sendable>(
    prefix: [UInt8],
    read: @escaping @Sendable (RedisConnection, [[UInt8]]) async throws -> Content,
    receive: (RedisConnection, ScannedPage<Content>) async throws -> Void
  ) async throws {
    // SCAN may return a key several times. Hashes of all keys take little memory, and two that are equal by
    // chance do not happen.
    let seen = Mutex<Set<Int>>([])
    var scanned = 0
    let total = try await countKeys()
    for connection in connections {
      let readPage = { @Sendable (cursor: [UInt8]) in
        let (next, keys) = try await Self.keys(prefix, from: cursor, on: connection)
        let new = seen.withLock { seen in keys.filter { seen.insert($0.hashValue).inserted } }
        return (cursor: next, count: new.count, content: try await read(connection, new))
      }
      try await withThrowingTaskGroup { group in
        group.addTask { try await readPage(Self.firstCursor) }
        while let (cursor, count, content) = try await group.next() {
          if cursor != Self.firstCursor { group.addTask { try await readPage(cursor) } }
          scanned += Self.scanCount
          let progress = total.map { min(1, Double(scanned) / Double(max(1, $0))) }
          try await receive(
            connection, ScannedPage(isEmpty: count == 0, content: content, progress: progress))
        }
      }
    }
  }

  /// Where a scan begins, and what it answers at its end.
  private static let firstCursor = Array("0".utf8)

  private static func keys(
    _ prefix: [UInt8], from cursor: [UInt8], on connection: RedisConnection
  ) async throws -> (cursor: [UInt8], keys: [[UInt8]]) {
    let reply = try await connection.send(
      RedisCommand(arguments: [
        Array("SCAN".utf8), cursor, Array("MATCH".utf8), pattern(prefix), Array("COUNT".utf8),
        Array("\(scanCount)".utf8),
      ]))
    let parts = try reply.elements(to: "SCAN", count: 2)
    guard let next = parts.first?.bytes else { throw RedisError(.unexpectedReply(to: "SCAN")) }
    let keys = try (parts.at(1) ?? .null).elements(to: "SCAN").compactMap { $0.bytes }
    return (Array(next), keys.filter { $0.starts(with: prefix) }.map(Array.init))
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
struct ScannedPage<Content: Sendable>: Sendable {
  /// Whether there was no key that was not found before.
  var isEmpty: Bool
  var content: Content
  /// How much of the keyspace has been looked at, up to 1; nil where that is not known.
  var progress: Double?

  func map<Other: Sendable>(_ change: (Content) -> Other) -> ScannedPage<Other> {
    ScannedPage<Other>(isEmpty: isEmpty, content: change(content), progress: progress)
  }
}

extension RedisCommand {
  package init(_ name: String, key: [UInt8]) { self.init(name, keys: [key]) }

  package init(_ name: String, keys: [[UInt8]]) { self.init(arguments: [Array(name.utf8)] + keys) }
}
