import PaasbusRedis
import Presence
import Synchronization
import Views

/// The events of a bus, handled one at a time and in order by a command, at its own pace. The history is the queue.
protocol EventHandling: Sendable {
  /// How far it is, and how often the command failed.
  var progress: WatchStatus.Handling { get }

  /// Decides where to begin, before the watch begins, so that every event that is shown is also
  /// handled.
  ///
  /// - Throws: `RedisError`.
  func begin(app: String, since: Watcher.Since?) async throws

  /// Begins at the start of a bus on which the first instance has just announced, since all its
  /// events are new.
  func begin(withNew app: String)

  /// Handles events until the task is cancelled. A command that is running then is ended before it
  /// has finished.
  func run(beside hub: Hub) async
}

/// The handling of a watch whose handler has no name: it begins and ends with the watch.
final class UnnamedHandling: EventHandling {
  private struct State {
    var follower: HistoryFollower?
    var progress = WatchStatus.Handling()
  }

  /// Readings of the history are at least so far apart, however much is published.
  private static let interval = Duration.milliseconds(100)

  private let attempts: HandlerAttempts
  private let filter: WatchFilter
  private let connector: RedisConnector
  private let state = Mutex(State())

  init(_ attempts: HandlerAttempts, filter: WatchFilter, connector: RedisConnector) {
    self.attempts = attempts
    self.filter = filter
    self.connector = connector
  }

  var progress: WatchStatus.Handling { state.withLock(\.progress) }

  func begin(app: String, since: Watcher.Since?) async throws {
    let follower = try await connector.routed(to: Keys(app: app).bus).withConnection {
      try await HistoryFollower.begin(app: app, since: since, on: $0)
    }
    state.withLock { ($0.follower, $0.progress.handled) = (follower, follower.position) }
  }

  func begin(withNew app: String) {
    state.withLock { state in
      if state.follower == nil { state.follower = HistoryFollower(app: app) }
    }
  }

  func run(beside hub: Hub) async {
    var backoff = Backoff()
    var last = ContinuousClock.now - Self.interval
    for await _ in hub.changes() {
      try? await connector.thread.sleep(for: max(.zero, last + Self.interval - .now))
      last = .now
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
          try? await connector.thread.sleep(for: backoff.next())
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
        if filter.passes(output) { try await handle(event) }
        state.withLock { $0.progress.handled = event.position }
      case .gap(let from, let to):
        Diagnostics.tell(.handlerGap(count: to - from + 1))
      case .snapshot, .foreign, .message, .reset, .retracted: break
      }
    }
  }

  private func handle(_ event: Event) async throws {
    var failures = 0
    while try await !attempts.run(event, after: failures) {
      failures += 1
      state.withLock { $0.progress.failures += 1 }
      guard attempts.mayTryAgain(after: failures) else { return }
      try await connector.thread.sleep(for: HandlerAttempts.pause(after: failures))
    }
  }
}
