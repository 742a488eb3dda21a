import PaasbusRedis
import Presence
import Synchronization
import TestSupport

/// Watchers of this process, which note what they are shown and when.
final class Audience: Sendable {
  private struct State {
    var shown: [Int]
    var isWatching = 0
    var types: [EventType: Int] = [:]
    var published: [String: ContinuousClock.Instant] = [:]
    /// The moments of publishing, in order.
    var moments: [ContinuousClock.Instant] = []
    var delays = Samples("ms")
    var tasks: [Task<Void, any Error>] = []
  }

  private let count: Int
  private let connector: RedisConnector
  private let state: Mutex<State>

  init(count: Int, connector: RedisConnector) {
    (self.count, self.connector) = (count, connector)
    state = Mutex(State(shown: Array(repeating: 0, count: count)))
  }

  /// Returns once all of them watch.
  func begin() async throws {
    for index in 0..<count {
      let watcher = Watcher(app: "default", connector: connector) { notice in
        if case .watching = notice { self.state.withLock { $0.isWatching += 1 } }
      }
      let task = Task { try await watcher.run { batch in self.receive(batch, index) } }
      state.withLock { $0.tasks.append(task) }
      // As many at once as a server's queue of new connections holds.
      guard index % 100 == 99 || index == count - 1 else { continue }
      try await eventually("\(index + 1) watch", within: .seconds(60)) {
        state.withLock { $0.isWatching } == index + 1
      }
    }
  }

  private func receive(_ batch: [WatchOutput], _ index: Int) {
    let now = ContinuousClock.now
    state.withLock { state in
      for case .event(let event, _) in batch {
        state.shown[index] += 1
        state.types[event.type, default: 0] += 1
        if let published = state.published[event.instance.id] {
          state.delays.add(now - published)
        }
      }
    }
  }

  func published(_ id: String) {
    let now = ContinuousClock.now
    state.withLock { state in
      state.published[id] = now
      state.moments.append(now)
    }
  }

  var delays: Samples { state.withLock { $0.delays } }

  /// The same for lines that were printed, one for each event.
  func delays(printed: [ContinuousClock.Instant]) -> Samples {
    var delays = Samples("ms")
    for (published, printed) in zip(state.withLock { $0.moments }, printed) {
      delays.add(printed - published)
    }
    return delays
  }

  func count(of type: EventType) -> Int { state.withLock { $0.types[type] ?? 0 } }

  func await(events: Int) async throws {
    try await eventually("all events are shown", within: .seconds(120)) {
      state.withLock { $0.shown.allSatisfy { $0 >= events } }
    }
  }

  func missed(of events: Int) -> Int {
    state.withLock { $0.shown.reduce(0) { $0 + max(0, events - $1) } }
  }

  func end() async {
    let tasks = state.withLock { $0.tasks }
    for task in tasks { task.cancel() }
    for task in tasks { _ = try? await task.value }
  }
}
