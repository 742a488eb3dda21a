import ArgumentParser
import Foundation
import PaasbusRedis
import Presence
import TestSupport

/// Lets watches that share a handler be killed, suspended and restarted, and Redis with them, and compares in the
/// end what the handler was run for with what happened.
struct HandlerSoak: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "handlers", abstract: "Watches that share a handler under random faults.")

  @Argument(help: "For how long faults are injected, in seconds.")
  var seconds = 60

  @Option(help: "The same seed draws the same faults.")
  var seed = UInt64.random(in: 1...999_999)

  @Option(help: "How many watches there are.")
  var watches = 3

  @Flag(help: "Say what is done as it is done.")
  var verbose = false

  func run() async throws {
    print("soak: handlers, seed \(seed), \(seconds) s, \(watches) watches")
    var verdict: HandlerVerdict?
    let options = ["--appendonly", "yes", "--appendfsync", "always"]
    try await RedisServer.with(options: options) { verdict = try await soak($0) }
    guard let verdict else { throw ExitCode.failure }
    print(verdict.report)
    guard verdict.isFine else {
      print("soak: failed; repeat it with --seed \(seed)")
      throw ExitCode.failure
    }
    print("soak: fine")
  }

  private func soak(_ server: RedisServer) async throws -> HandlerVerdict {
    let pool = try await HandlerPool(watches, on: server, seed: seed, isVerbose: verbose)
    let end = ContinuousClock.now + .seconds(seconds)
    async let events = publish(on: server, until: end)
    try await pool.disturb(until: end)
    let count = try await events
    // Whoever handles the rest may have to wait until the time of the last owner is over.
    try? await eventually("all are handled", within: .seconds(90)) {
      try pool.runs().contains { $0.seq == count && $0.hasSucceeded }
    }
    try await pool.end()
    return HandlerVerdict(count: count, runs: try pool.runs(), faults: pool.faults)
  }

  /// Lets instances begin; returns the number of the last event.
  private func publish(
    on server: RedisServer, until end: ContinuousClock.Instant
  ) async throws -> Int {
    var random = SeededGenerator(state: seed &+ 1)
    let keys = Keys(app: "soak")
    let transitions = Transitions(keys: keys)
    while ContinuousClock.now < end {
      let instance = Instance(app: "soak", name: "w", lease: .seconds(300))
      // A transition whose answer was lost is sent again.
      try await eventually("an event is published", within: .seconds(60)) {
        try await server.connector.withConnection {
          _ = try await transitions.start(
            instance, elapsed: .zero, channel: nil, history: 1_000_000, on: $0)
        }
        return true
      }
      try await Task.sleep(for: random.milliseconds(0...120))
    }
    let bus = try await server.connector.withConnection {
      try await BusState.read(keys: keys, on: $0)
    }
    return Int(bus.position?.seq ?? 0)
  }
}
