import PaasbusRedis

/// Which sessions are to be ended.
public enum SessionSelection: Sendable {
  /// Those that have these names, whatever they hold.
  case ids([SessionID])
  /// Those with which the user with this id is logged in.
  case user([UInt8])
  /// All that are sessions; other keys with the same prefix stay.
  case all

  /// Whether a session is meant, now that it has been read.
  func holds(_ session: Session) -> Bool {
    switch self {
    case .ids: true
    case .user(let id): session.user?.id == id
    case .all: (try? session.content.get()) != nil
    }
  }
}

/// What became of a session that was ended.
public struct SessionEnding: Sendable {
  /// Its name.
  public let id: SessionID
  /// The user who was logged in with it.
  public let user: SessionUser?
  /// How often a request of the app brought it back; it was ended each time.
  public internal(set) var returns = 0
  /// Whether it stayed away in the end.
  public internal(set) var isGone = true
}

extension SessionStore {
  /// How often one looks whether a session has come back. For very many sessions, less often.
  private static let interval = Duration.milliseconds(100)
  /// So many sessions are looked at in one go.
  private static let pageSize = 500

  /// Ends sessions, then watches whether a request of the app that is under way brings one back, and ends it again.
  ///
  /// - Parameters:
  ///   - watch: how long to watch. A connection that is lost meanwhile is made again.
  ///   - report: gets the sessions that were ended, before they are watched.
  /// - Returns: what became of them; nil where nothing at all is under the prefix. Names without a session are
  ///   left out.
  /// - Throws: `RedisError`, also where there is no connection at the end of the watch.
  public func end(
    _ selection: SessionSelection, watch: Duration,
    report: ([SessionEnding]) -> Void = { _ in }
  ) async throws -> [SessionEnding]? {
    var endings: [[UInt8]: SessionEnding] = [:]
    let isEmpty = try await SessionNodes.with(connector) { nodes in
      try await forEachPage(of: selection, at: nodes) { connection, sessions in
        for session in try await remove(sessions, selection, on: connection) {
          endings[key(session.id)] = SessionEnding(id: session.id, user: session.user)
        }
      }
    }
    guard !isEmpty else { return nil }
    report(Array(endings.values))
    let end = ContinuousClock.now + watch
    var hasEnded = endings.isEmpty
    while !hasEnded {
      do {
        try await SessionNodes.with(connector) { nodes in
          try await keepAway(selection, &endings, until: end, at: nodes)
        }
        hasEnded = true
      } catch let error as RedisError where error.isTransient && ContinuousClock.now < end {
        try await Task.sleep(for: Self.interval)
      }
    }
    return Array(endings.values)
  }

  /// Ends the sessions again whenever they are there again.
  private func keepAway(
    _ selection: SessionSelection, _ endings: inout [[UInt8]: SessionEnding],
    until end: ContinuousClock.Instant, at nodes: SessionNodes
  ) async throws {
    let assigned = try await nodes.assigned(Array(endings.keys))
    var pause = Self.interval
    while true {
      // The last look comes a whole pause after the one before, so that it finds what goes on coming back.
      let next = ContinuousClock.now + pause
      try await Task.sleep(until: next + pause < end ? next : end)
      let begun = ContinuousClock.now
      for (connection, keys) in assigned {
        for key in try await endReturned(keys, selection, at: nodes, on: connection) {
          endings[key]?.returns += 1
          if begun >= end { endings[key]?.isGone = false }
        }
      }
      if begun >= end { return }
      // At most a twentieth of the time.
      pause = max(Self.interval, begun.duration(to: .now) * 20)
    }
  }

  /// Reads the sessions that are meant.
  ///
  /// - Returns: whether nothing at all is under the prefix.
  private func forEachPage(
    of selection: SessionSelection, at nodes: SessionNodes,
    _ page: (RedisConnection, [Session]) async throws -> Void
  ) async throws -> Bool {
    if case .ids(let ids) = selection {
      for (connection, keys) in try await nodes.assigned(ids.map(key)) {
        try await page(connection, nodes.read(keys, on: connection).map(session))
      }
      return false
    }
    var isEmpty = true
    try await scan(nodes) { connection, scanned in
      if !scanned.isEmpty { isEmpty = false }
      try await page(connection, scanned.content.filter { selection.holds($0) })
    }
    return isEmpty
  }

  /// Ends those sessions that are there again, and returns their keys.
  private func endReturned(
    _ keys: [[UInt8]], _ selection: SessionSelection, at nodes: SessionNodes,
    on connection: RedisConnection
  ) async throws -> [[UInt8]] {
    var returned: [[UInt8]] = []
    for start in stride(from: 0, to: keys.count, by: Self.pageSize) {
      let page = keys[start..<min(start + Self.pageSize, keys.count)]
      let sessions = try await nodes.read(Array(page), on: connection)
        .map(session).filter { selection.holds($0) }
      returned += try await remove(sessions, selection, on: connection).map { key($0.id) }
    }
    return returned
  }

  // MARK: Removing

  /// - Returns: those that were removed.
  private func remove(
    _ sessions: [Session], _ selection: SessionSelection, on connection: RedisConnection
  ) async throws -> [Session] {
    guard case .user(let id) = selection else {
      let replies = try await connection.pipeline(
        sessions.map { RedisCommand("DEL", key: key($0.id)) })
      for reply in replies { try reply.get() }
      return sessions
    }
    var removed: [Session] = []
    for session in sessions where try await remove(session, of: id, on: connection) {
      removed.append(session)
    }
    return removed
  }

  /// Removes a session as long as it is this user's, since it may be another's by now.
  private func remove(
    _ session: Session, of user: [UInt8], on connection: RedisConnection
  ) async throws -> Bool {
    var content = try? session.content.get()
    while let expected = content, expected.user(at: userPaths)?.id == user {
      let word = try await SessionScripts.remove.run(
        on: connection, keys: [key(session.id)], arguments: [expected.bytes]
      ).reply.string
      guard word == "changed" else { return word == "removed" }
      let value = try await connection.send(RedisCommand("GET", key: key(session.id))).bytes
      content = value.flatMap { try? SessionContent(Array($0)) }
    }
    return false
  }
}
