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

  @OptionGroup var options: SoakOptions

  @Option(help: "How many watches there are.")
  var watches = 3

  func run() async throws {
    print("soak: handlers, seed \(options.seed), \(options.seconds) s, \(watches) watches")
    var verdict: HandlerVerdict?
    let settings = ["--appendonly", "yes", "--appendfsync", "always"]
    try await RedisServer.with(options: settings) { verdict = try await soak($0) }
    try options.conclude(verdict)
  }

  private func soak(_ server: RedisServer) async throws -> HandlerVerdict {
    let pool = try await HandlerPool(
      watches, on: server, seed: options.seed, isVerbose: options.verbose)
    let end = ContinuousClock.now + .seconds(options.seconds)
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
    var random = SeededGenerator(state: options.seed &+ 1)
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
