import ExpressSessions
import NIOCore
import PaasbusRedis

/// Knows to whom sessions belong, and notices when one ends or becomes another user's.
///
/// Redis tells which of the keys that were read have changed (`CLIENT TRACKING`, from version 6 on), on a second
/// connection, since the first one speaks RESP2. Where it does not, the sessions are read again every 15 seconds.
/// Lives on the thread of the connections.
final class SessionWatch: Sendable {
  private struct Watched {
    var user: [UInt8]
    /// Called once when the session is no longer this user's.
    var ended: [ObjectIdentifier: () -> Void] = [:]
    /// When Redis removes it unless it is used.
    var end: ContinuousClock.Instant?
    /// How long the app keeps it after a request, in ms; nil for one that ends with the browser.
    var maxAge: Int64?
  }

  /// A session as it was read.
  private struct Found {
    var user: SessionUser
    /// In ms.
    var left: Int64?
    var maxAge: Int64?
  }

  private struct State {
    var sessions: [SessionID: Watched] = [:]
    /// Those that are being read for the first time.
    var asked: [SessionID: Int] = [:]
    var changed: Set<SessionID> = []
    var commands: RedisConnection?
    var isTracking = false
    var lostSince: ContinuousClock.Instant? = .now
    var lastReading = ContinuousClock.now
  }

  private static let tick = Duration.milliseconds(50)
  /// How long the server may say nothing.
  private static let patience = Duration.seconds(5)
  /// How often all are read again: where Redis tells of changes, only to be sure.
  private static let slowInterval = Duration.seconds(60)
  private static let fastInterval = Duration.seconds(15)
  private static let pageSize = 200

  private let store: SessionStore
  private let channel: String
  private let state: NIOLoopBoundBox<State>

  /// - Parameter channel: one that nothing is published on.
  init(_ store: SessionStore, channel: String) {
    (self.store, self.channel) = (store, channel)
    state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: store.connector.thread.loop)
  }

  private var thread: ConnectionThread { store.connector.thread }

  /// How long there has been no connection.
  var outage: Duration { state.value.lostSince.map { .now - $0 } ?? .zero }

  // MARK: Asking

  /// The user of a session, who is watched from then on.
  ///
  /// - Parameter ended: called once when the session is no longer this user's.
  /// - Returns: nil where nobody is logged in with it.
  /// - Throws: `RedisError`.
  func watch(
    _ id: SessionID, as owner: AnyObject, ended: @escaping () -> Void
  ) async throws -> SessionUser? {
    guard let commands = state.value.commands else { throw RedisError(.closed) }
    // Known before it is read, so that a change in between is noticed.
    state.value.asked[id, default: 0] += 1
    defer {
      state.value.asked[id, default: 1] -= 1
      if state.value.asked[id] == 0 { state.value.asked[id] = nil }
    }
    let found = try await read([id], on: commands)[id]
    // Those who watch it already are told first, where it has ended or become another user's.
    compare(id, found)
    guard let found else { return nil }
    var watched = state.value.sessions[id] ?? Watched(user: found.user.id)
    watched.end = found.left.map { .now + .milliseconds($0) }
    watched.maxAge = found.maxAge
    watched.ended[ObjectIdentifier(owner)] = ended
    state.value.sessions[id] = watched
    return found.user
  }

  /// Prolongs a session as a request of the app does.
  func touch(_ id: SessionID) async {
    guard let maxAge = state.value.sessions[id]?.maxAge, maxAge > 0 else { return }
    _ = try? await state.value.commands?.pipeline([
      RedisCommand(arguments: [
        Array("EXPIRE".utf8), store.key(id), Array("\((maxAge + 999) / 1000)".utf8),
      ])
    ])
  }

  func leave(_ id: SessionID, as owner: AnyObject) {
    state.value.sessions[id]?.ended[ObjectIdentifier(owner)] = nil
    if state.value.sessions[id]?.ended.isEmpty == true { state.value.sessions[id] = nil }
  }

  private func read(
    _ ids: [SessionID], on commands: RedisConnection
  ) async throws -> [SessionID: Found] {
    let replies = try await commands.pipeline(
      ids.map { RedisCommand("GET", key: store.key($0)) }
        + ids.map { RedisCommand("PTTL", key: store.key($0)) })
    var found: [SessionID: Found] = [:]
    for (index, id) in ids.enumerated() {
      let reply = replies.at(index) ?? .null
      if case .error(let text) = reply, ErrorReply(text).meaning != .wrongType { try reply.get() }
      guard let bytes = reply.bytes, let content = try? SessionContent(Array(bytes)),
        let user = content.user(at: store.userPaths)
      else { continue }
      let left = replies.at(ids.count + index)?.integer
      found[id] = Found(
        user: user, left: left.flatMap { $0 >= 0 ? $0 : nil }, maxAge: content.maxAge)
    }
    return found
  }

  // MARK: Watching

  /// Watches until the task is cancelled.
  ///
  /// - Throws: `RedisError` when the first contact fails.
  func run() async throws {
    var backoff = Backoff()
    var hasContact = false
    while !Task.isCancelled {
      let begun = ContinuousClock.now
      do {
        try await store.connector.withConnection { commands in
          try await store.connector.withConnection { listening in
            let isTracking = try await follow(commands, listening)
            let subscription = try await listening.subscribe(to: [channel])
            (hasContact, state.value.commands) = (true, commands)
            (state.value.isTracking, state.value.lostSince) = (isTracking, nil)
            state.value.changed = Set(state.value.sessions.keys)
            try await withThrowingTaskGroup(of: Void.self) { group in
              group.addTask { try await self.hear(subscription) }
              group.addTask { try await self.look() }
              defer { group.cancelAll() }
              try await group.next()
            }
          }
        }
      } catch is CancellationError {
        return
      } catch let error as RedisError where hasContact {
        _ = error
        state.value.commands = nil
        if state.value.lostSince == nil { state.value.lostSince = .now }
        backoff.connectionEnded(since: begun)
        try? await thread.sleep(for: backoff.next())
      }
    }
  }

  /// - Returns: whether changes are told.
  private func follow(
    _ commands: RedisConnection, _ listening: RedisConnection
  ) async throws -> Bool {
    let id = try await listening.pipeline([RedisCommand("CLIENT", "ID")]).first?.integer
    guard let id else { return false }
    let reply = try await commands.pipeline([
      RedisCommand("CLIENT", "TRACKING", "ON", "REDIRECT", "\(id)")
    ]).first
    if case .status? = reply { return true }
    return false
  }

  private func hear(_ subscription: RedisSubscription) async throws {
    try await subscription.follow(patience: Self.patience) { messages in
      for message in messages { hear(message) }
      return true
    }
  }

  private func hear(_ message: RedisMessage) {
    guard message.channel.elementsEqual("__redis__:invalidate".utf8) else { return }
    guard !message.payload.isEmpty else {
      state.value.changed = Set(state.value.sessions.keys)
      return
    }
    guard message.payload.starts(with: store.prefix.utf8) else { return }
    let id = SessionID(message.payload.dropFirst(store.prefix.utf8.count))
    if state.value.sessions[id] != nil || state.value.asked[id] != nil {
      state.value.changed.insert(id)
    }
  }

  private func look() async throws {
    while true {
      try await thread.sleep(for: Self.tick)
      guard let commands = state.value.commands else { throw RedisError(.closed) }
      let now = ContinuousClock.now
      let interval = state.value.isTracking ? Self.slowInterval : Self.fastInterval
      if now - state.value.lastReading > interval {
        state.value.lastReading = now
        state.value.changed.formUnion(state.value.sessions.keys)
      }
      for (id, watched) in state.value.sessions where watched.end.map({ $0 <= now }) ?? false {
        state.value.changed.insert(id)
      }
      while !state.value.changed.isEmpty {
        let page = Array(state.value.changed.prefix(Self.pageSize))
        state.value.changed.subtract(page)
        let found = try await read(page, on: commands)
        for id in page { compare(id, found[id]) }
      }
    }
  }

  private func compare(_ id: SessionID, _ found: Found?) {
    guard let watched = state.value.sessions[id] else { return }
    if let found, found.user.id == watched.user {
      state.value.sessions[id]?.end = found.left.map { .now + .milliseconds($0) }
      return
    }
    state.value.sessions[id] = nil
    for ended in watched.ended.values { ended() }
  }
}
