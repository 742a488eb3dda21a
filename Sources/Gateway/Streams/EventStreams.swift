import NIOCore
import PaasbusRedis
import Presence

/// The listeners of `/api/v1/events`: what happens is pushed to all of them, and before that each reads what it
/// missed from the history, at its own pace.
final class EventStreams: Sendable {
  /// Where a listener begins.
  enum Start: Sendable, Equatable {
    case now
    case after(Position)
    case since(Watcher.Since)
  }

  private final class Listener {
    let stream: ResponseStream
    var position: Position?
    var lastWrite = NIODeadline.now()
    var lastCheck = NIODeadline.now()
    /// nil where there is no log-in that could end.
    let mayStay: (@Sendable () async -> Bool)?

    init(
      _ stream: ResponseStream, position: Position?, mayStay: (@Sendable () async -> Bool)?
    ) {
      (self.stream, self.position, self.mayStay) = (stream, position, mayStay)
    }
  }

  private struct State {
    var listeners: [ObjectIdentifier: Listener] = [:]
  }

  /// Silence after which a comment is sent; Heroku's router cuts at 55 s.
  private static let maxSilence = TimeAmount.seconds(14)
  /// How often an open stream's log-in is looked at.
  private static let checkInterval = TimeAmount.seconds(60)
  private static let comment = ResponseStream.Piece(Array(":\n\n".utf8))

  private let hub: Hub
  private let client: RedisClient
  private let thread: ConnectionThread
  private let state: NIOLoopBoundBox<State>

  init(hub: Hub, client: RedisClient, thread: ConnectionThread) {
    (self.hub, self.client, self.thread) = (hub, client, thread)
    state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: thread.loop)
  }

  var count: Int { state.value.listeners.count }

  /// Tells all listeners what has happened; on the event loop.
  func push(_ batch: [WatchOutput]) {
    guard !state.value.listeners.isEmpty else { return }
    let pieces = EventPieces(batch)
    guard !pieces.isEmpty else { return }
    let whole = ResponseStream.Piece(pieces.bytes)
    let now = NIODeadline.now()
    for listener in state.value.listeners.values {
      listener.lastWrite = now
      let rest = pieces.rest(after: &listener.position)
      guard rest?.isEmpty != true else { continue }
      listener.stream.push(rest.map(ResponseStream.Piece.init) ?? whole)
    }
  }

  /// Tells all listeners that the watch's connection broke or is back.
  func push(connection: String) {
    let bytes = Array("event: connection\ndata: {\"connection\":\"\(connection)\"}\n\n".utf8)
    let piece = ResponseStream.Piece(bytes)
    for listener in state.value.listeners.values { listener.stream.push(piece) }
  }

  /// Hands over what a listener missed, and then what happens, until it goes or its log-in ends. Returns once it
  /// has caught up.
  ///
  /// - Parameter mayStay: whether its log-in still holds; nil where it has none that could end.
  /// - Throws: ``ResponseStream/Ended``.
  func serve(
    _ stream: ResponseStream, from start: Start, mayStay: (@Sendable () async -> Bool)?
  ) async throws {
    try await stream.write(Array("retry: 1000\n\n".utf8))
    let position = try await patientlyCatchUp(stream, from: start)
    let listener = Listener(stream, position: position, mayStay: mayStay)
    let id = ObjectIdentifier(listener)
    state.value.listeners[id] = listener
    stream.stayOpen {
      self.tick(listener, $0)
    } onEnd: {
      self.state.value.listeners[id] = nil
    }
  }

  private func tick(_ listener: Listener, _ now: NIODeadline) {
    if now - listener.lastWrite >= Self.maxSilence {
      listener.lastWrite = now
      listener.stream.push(Self.comment)
    }
    guard let mayStay = listener.mayStay, now - listener.lastCheck >= Self.checkInterval else {
      return
    }
    listener.lastCheck = now
    let stream = listener.stream
    Task(executorPreference: thread.executor) { if await !mayStay() { stream.end() } }
  }

  /// Waits for Redis where it is away: a browser whose stream ends in an error gives up.
  private func patientlyCatchUp(
    _ stream: ResponseStream, from start: Start
  ) async throws -> Position? {
    var start = start
    while true {
      do {
        return try await catchUp(stream, from: &start)
      } catch is RedisError {
        // Whether the reader is still there, this shows too.
        try await stream.write(Array(":\n\n".utf8))
        try await thread.sleep(for: .seconds(1))
      }
    }
  }

  /// Hands over what the history holds, until it is no longer behind the watch.
  ///
  /// - Parameter start: where to begin; then, what is left to do.
  /// - Returns: the position of the last event that was handed over.
  private func catchUp(
    _ stream: ResponseStream, from start: inout Start
  ) async throws -> Position? {
    guard start != .now, let app = hub.state.app else { return hub.state.position }
    return try await client.withConnection { connection in
      var follower: HistoryFollower
      switch start {
      case .now: return hub.state.position
      case .after(let position): follower = HistoryFollower(app: app, after: position)
      case .since(let since):
        follower = try await HistoryFollower.begin(app: app, since: since, on: connection)
      }
      repeat {
        try await follower.catchUp(on: connection) { page in
          let pieces = EventPieces(page)
          try await stream.write(pieces.bytes)
          if let last = pieces.parts.compactMap(\.position).last { start = .after(last) }
        }
      } while isBehind(follower.position)
      return follower.position
    }
  }

  private func isBehind(_ position: Position?) -> Bool {
    guard let shown = hub.state.position else { return false }
    return position.map { $0 < shown } ?? true
  }
}
