import PaasbusRedis
import Synchronization

/// The part of a watch that declares those instances lost whose lease ran out or whose connection
/// is gone. It uses the connection on which the watch sends its commands, and does not wait for the
/// output, which may be far behind.
struct LeaseWatch: Sendable {
  /// The longest beat that an instance of this bus was seen to have.
  final class LongestBeat: Sendable {
    /// A third of the longest lease.
    private static let max = Duration.seconds(100)
    private let beat = Mutex(Duration.seconds(5))

    var value: Duration { beat.withLock { $0 } }

    func learn(_ other: Duration) {
      beat.withLock { $0 = Swift.max($0, min(other, Self.max)) }
    }
  }

  private static let minInterval = Duration.milliseconds(20)

  let keys: Keys
  let beat: LongestBeat
  let isReconnected: Bool
  let notify: @Sendable (Watcher.Notice) -> Void

  /// Looks for as long as the connection lives and the user may reap.
  ///
  /// - Throws: `RedisError` where the connection failed, `CancellationError`.
  func run(on connection: RedisConnection) async throws {
    var reaper = Reaper(keys: keys, isReconnected: isReconnected)
    if !connection.takesExtras { reaper.turnProbeOff() }
    var clock = try await ServerClock.read(on: connection)
    while true {
      let now = ContinuousClock.now
      if now >= reaper.nextLook ?? now {
        clock = try await reaper.look(near: clock.now, beat: beat.value, on: connection) ?? clock
      }
      if let probe = reaper.nextProbe, now >= probe {
        try await reaper.lookAtConnections(on: connection)
      }
      guard reaper.isPermitted else { return notify(.cannotReap) }
      let next = [reaper.nextLook, reaper.nextProbe].compactMap { $0 }.min() ?? .now
      try await connection.sleep(for: max(Self.minInterval, next - .now))
    }
  }
}
