import PaasbusRedis

/// The part of a watch that declares those instances lost whose lease ran out or whose connection
/// is gone. It uses the connection on which the watch sends its commands, and does not wait for the
/// output, which may be far behind.
struct LeaseWatch: Sendable {
  private static let minInterval = Duration.milliseconds(20)
  /// How often a reader who wants to see it is told what the instances use, which changes with their beats.
  private static let usageInterval = Duration.seconds(10)
  /// More leases than these are not told with each look.
  private static let manyLeases = 20_000
  private static let manyInterval = Duration.seconds(5)
  /// How often the time is asked for where nothing else is.
  private static let clockInterval = Duration.seconds(5)

  let keys: Keys
  let times: BusTimes
  let isReconnected: Bool
  let notify: @Sendable (Watcher.Notice) -> Void
  /// Receives when each instance last said that it is there and, every ten seconds, what it uses; nil if no reader of
  /// the hub needs that.
  var share: (@Sendable (Leases) -> Void)?

  /// Looks for as long as the connection lives. Where the user may not reap, only what others want to know is read.
  ///
  /// - Throws: `RedisError` where the connection failed, `CancellationError`.
  func run(on connection: RedisConnection) async throws {
    var reaper = Reaper(keys: keys, isReconnected: isReconnected)
    if !connection.takesExtras { reaper.turnProbeOff() }
    var clock = try await ServerClock.read(on: connection)
    var (nextShare, nextUsage) = (ContinuousClock.now, ContinuousClock.now)
    while reaper.isPermitted || share != nil {
      let now = ContinuousClock.now
      let shares = share != nil && now >= nextShare
      let mayReap = reaper.isPermitted
      let found = try await reaper.look(
        near: clock.now, beat: times.beat, readsAll: shares, on: connection)
      if mayReap, !reaper.isPermitted { notify(.cannotReap) }
      if var found {
        clock = found.clock
        times.clock = clock
        if shares, now >= nextUsage {
          nextUsage = now + Self.usageInterval
          found.usages = try await InstanceUsage.read(keys: keys, on: connection)
        }
        if shares { share?(found) }
        nextShare = found.ends.count > Self.manyLeases ? now + Self.manyInterval : now
      }
      let next = [reaper.nextLook, reaper.nextProbe].compactMap { $0 }.min() ?? .now
      try await connection.sleep(for: max(Self.minInterval, next - .now))
    }
    while true {
      try await connection.sleep(for: Self.clockInterval)
      times.clock = try await ServerClock.read(on: connection)
    }
  }
}
