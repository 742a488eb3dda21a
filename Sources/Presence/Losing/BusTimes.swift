import Synchronization

/// What the parts of a watch tell each other of time.
final class BusTimes: Sendable {
  /// A third of the longest lease.
  private static let maxBeat = Duration.seconds(100)
  private let state = Mutex((beat: Duration.seconds(5), clock: ServerClock?.none))

  /// The longest beat that an instance of this bus was seen to have.
  var beat: Duration { state.withLock(\.beat) }

  func learn(beat: Duration) {
    state.withLock { $0.beat = max($0.beat, min(beat, Self.maxBeat)) }
  }

  /// The server's, as it was last told.
  var clock: ServerClock? {
    get { state.withLock(\.clock) }
    set { state.withLock { $0.clock = newValue } }
  }
}
