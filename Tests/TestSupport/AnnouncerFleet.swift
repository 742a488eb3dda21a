import PaasbusRedis
import Presence

/// Announcers in this process, for tests and measurements that need many.
package struct AnnouncerFleet: Sendable {
  private struct Member: Sendable {
    let announcer: Announcer
    let run: Task<Announcer.Ending, any Error>
  }

  private var members: [Member] = []

  package init() {}

  package var count: Int { members.count }

  /// Starts one for each of the instances.
  ///
  /// - Parameters:
  ///   - limit: how many may be about to be announced at a time; returns once the last was started.
  package mutating func start(
    _ instances: [Instance], connector: RedisConnector, options: Announcer.Options = .init(),
    atOnce limit: Int = .max
  ) async {
    let (turns, turn) = AsyncStream<Void>.makeStream()
    for _ in 0..<min(limit, instances.count) { turn.yield() }
    var next = turns.makeAsyncIterator()
    for instance in instances {
      await next.next()
      let announcer = Announcer(instance, connector: connector, options: options) { notice in
        if case .announced = notice { turn.yield() }
      }
      members.append(Member(announcer: announcer, run: Task { try await announcer.run() }))
    }
  }

  /// Stops all, and waits until they have.
  package func end() async throws {
    for member in members { member.announcer.stop(reason: "SIGTERM") }
    for member in members { _ = try await member.run.value }
  }
}
