import PaasbusRedis
import Presence
import Synchronization

/// `watch --exec`: runs a handler for each event that the history holds, one at a time and in order,
/// at the handler's own pace.
final class EventHandling: Sendable {
  private struct State {
    var handled: Position?
    /// The last event that the watch has shown.
    var shown: Position?
    var failures = 0
    var follower: HistoryFollower?
  }

  private let handler: EventHandler
  private let filter: WatchFilter
  private let connector: RedisConnector
  /// Is told how it fares.
  private let tell: @Sendable (WatchStatus.Handling) -> Void
  private let state = Mutex(State())
  /// That there may be something to do.
  private let news: AsyncStream<Void>
  private let wake: AsyncStream<Void>.Continuation

  init(
    handler: EventHandler, filter: WatchFilter, connector: RedisConnector,
    tell: @escaping @Sendable (WatchStatus.Handling) -> Void
  ) {
    self.handler = handler
    self.filter = filter
    self.connector = connector
    self.tell = tell
    (news, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// Decides where to begin, before the watch does, so that nothing is shown that is not handled.
  ///
  /// - Throws: `RedisError`.
  func begin(app: String, since: Watcher.Since?) async throws {
    let follower = try await connector.routed(to: Keys(app: app).bus).withConnection {
      try await HistoryFollower.begin(app: app, since: since, on: $0)
    }
    state.withLock { ($0.follower, $0.handled) = (follower, follower.position) }
    wake.yield()
  }

  /// The first bus that anybody announces on is this one: all of it is new.
  func begin(withNew app: String) {
    state.withLock { state in
      if state.follower == nil { state.follower = HistoryFollower(app: app) }
    }
  }

  /// What the watch has shown may have to be handled.
  func take(_ batch: [WatchOutput]) {
    let last = batch.last { if case .event = $0 { true } else { false } }
    if case .event(let event, _)? = last { state.withLock { $0.shown = event.position } }
    wake.yield()
    tellProgress()
  }

  /// Handles events until the task is cancelled; an event whose handler is running then has been
  /// begun only.
  func run() async {
    var backoff = Backoff()
    for await _ in news {
      guard var follower = state.withLock(\.follower) else { continue }
      do {
        try await connector.routed(to: Keys(app: follower.app).bus).withConnection { connection in
          try await follower.catchUp(on: connection) { try await handle($0) }
        }
        backoff.reset()
      } catch is CancellationError {
        return
      } catch {
        // The watch says it; we only try again.
        try? await Task.sleep(for: backoff.next())
        wake.yield()
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
          state.withLock { $0.failures += 1 }
          Diagnostics.error("the handler of \(event.type) of \(event.instance.name) \(failure)")
        }
        state.withLock { $0.handled = event.position }
      case .gap(let from, let to):
        Diagnostics.error(
          "\(to - from + 1) events left the history before they were handled: "
            + "announce with a larger --history, or handle them faster")
      case .snapshot, .whole, .foreign, .message, .reset, .retracted: break
      }
      tellProgress()
    }
  }

  private func tellProgress() {
    let (handled, shown, failures) = state.withLock { ($0.handled, $0.shown, $0.failures) }
    var progress = WatchStatus.Handling(failures: failures)
    if let shown {
      // Of a bus that was only now born, nothing has been handled.
      let done = handled.map { $0.epoch == shown.epoch ? $0.seq : 0 } ?? 0
      progress.behind = max(0, shown.seq - done)
    }
    tell(progress)
  }
}
