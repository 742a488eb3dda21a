import PaasbusRedis
import Presence
import Synchronization
import Views

/// `watch --exec`: runs a handler for each event that the history holds, one at a time and in order,
/// at the handler's own pace.
final class EventHandling: Sendable {
  private struct State {
    var follower: HistoryFollower?
    var progress = WatchStatus.Handling()
  }

  private let handler: EventHandler
  private let filter: WatchFilter
  private let connector: RedisConnector
  private let state = Mutex(State())

  init(handler: EventHandler, filter: WatchFilter, connector: RedisConnector) {
    self.handler = handler
    self.filter = filter
    self.connector = connector
  }

  /// How far it is, and how often the handler failed.
  var progress: WatchStatus.Handling { state.withLock(\.progress) }

  /// Decides where to begin, before the watch begins, so that every event that is shown is also
  /// handled.
  ///
  /// - Throws: `RedisError`.
  func begin(app: String, since: Watcher.Since?) async throws {
    let follower = try await connector.routed(to: Keys(app: app).bus).withConnection {
      try await HistoryFollower.begin(app: app, since: since, on: $0)
    }
    state.withLock { ($0.follower, $0.progress.handled) = (follower, follower.position) }
  }

  /// Begins at the start of a bus on which the first instance has just announced, since all its
  /// events are new.
  func begin(withNew app: String) {
    state.withLock { state in
      if state.follower == nil { state.follower = HistoryFollower(app: app) }
    }
  }

  /// Handles events until the task is cancelled. A handler that is running then is ended before it
  /// has finished.
  func run(beside hub: Hub) async {
    var backoff = Backoff()
    for await _ in hub.changes() {
      guard var follower = state.withLock(\.follower) else { continue }
      var isBehind = true
      while isBehind, !Task.isCancelled {
        do {
          try await connector.routed(to: Keys(app: follower.app).bus).withConnection { connection in
            try await follower.catchUp(on: connection) { try await handle($0) }
          }
          backoff.reset()
          isBehind = false
        } catch {
          // The watch reports the error; here it is only tried again.
          try? await Task.sleep(for: backoff.next())
        }
      }
      state.withLock { [follower] in $0.follower = follower }
    }
  }

  private func handle(_ page: [WatchOutput]) async throws {
    for output in page {
      try Task.checkCancellation()
      switch output {
      case .event(let event, _):
        if filter.passes(output), let failure = await handler.run(event) {
          try Task.checkCancellation()
          state.withLock { $0.progress.failures += 1 }
          Diagnostics.tell(
            .handlerFailed(event.type, name: event.instance.name, failure: failure))
        }
        state.withLock { $0.progress.handled = event.position }
      case .gap(let from, let to):
        Diagnostics.tell(.handlerGap(count: to - from + 1))
      case .snapshot, .foreign, .message, .reset, .retracted: break
      }
    }
  }
}
