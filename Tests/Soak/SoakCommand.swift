import ArgumentParser
import Foundation
import TestSupport

@main
struct SoakCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "soak", abstract: "Real processes under random faults.",
    subcommands: [FleetSoak.self, RelaySoak.self, HandlerSoak.self],
    defaultSubcommand: FleetSoak.self)
}

/// Lets a fleet of real announcers and watchers live through faults that are drawn at random, and
/// compares in the end what every watcher printed with the history and with what was really done
/// to each process.
struct FleetSoak: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fleet", abstract: "Announcers and watchers under random faults.")

  @OptionGroup var options: SoakOptions

  @Option(help: "How many announcers live at a time.")
  var announcers = 20

  @Option(help: "How many watchers watch; every third through a network that can fall silent.")
  var watchers = 6

  func run() async throws {
    print(
      "soak: seed \(options.seed), \(options.seconds) s, \(announcers) announcers, \(watchers) watchers"
    )
    let settings = ["--appendonly", "yes", "--appendfsync", "always", "--lua-time-limit", "50"]
    var verdict: Verdict?
    try await RedisServer.with(usesTCP: true, options: settings) { server in
      verdict = try await soak(server)
    }
    try options.conclude(verdict)
  }

  private func soak(_ server: RedisServer) async throws -> Verdict {
    let truth = Truth(server: server)
    let proxy = try await Proxy(to: server)
    let watches = try await WatchProcesses(watchers, server, proxy)
    let fleet = Fleet(server: server, seed: options.seed, isVerbose: options.verbose)
    let faults = Faults(
      server: server, proxy: proxy, fleet: fleet, watches: watches, truth: truth,
      random: SeededGenerator(state: options.seed), isVerbose: options.verbose)
    let recording = Task { await truth.record() }
    defer { recording.cancel() }
    let end = ContinuousClock.now + .seconds(options.seconds)
    // Deeds go on while a fault lasts, and for a while in the calm behind the last one, in which is
    // measured how soon they are seen.
    async let deeds: Void = fleet.live(count: announcers, until: end + .seconds(8))
    let injected = try await faults.inject(until: end)
    try await deeds
    try await fleet.end()
    try await truth.capture()
    try await watches.settle(at: await truth.last)
    return Verdict(
      truth: await truth.events, members: await fleet.members, watches: watches.all,
      faults: injected)
  }
}
