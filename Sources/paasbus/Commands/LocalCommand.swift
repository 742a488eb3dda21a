import ArgumentParser
import Presence
import Redis

struct LocalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "local",
    abstract: "A private Redis of this user on this machine, for trying things out.",
    discussion: """
      Commands that find no other Redis use it. It ends some time after its last client.

      Examples:
        paasbus local start
        paasbus local status
      """,
    subcommands: [Start.self, Stop.self, Status.self, Keep.self]
  )

  struct Start: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "start", abstract: "Start the local bus, unless it runs.")

    @Option(help: "How long after its last client it ends.")
    var idle = DurationArgument(LocalBus.defaultIdle)

    func run() async throws {
      let bus = try LocalBus()
      try await bus.start(idle: idle.duration)
      try StandardStreams.write(Array("the local bus runs at \(bus.socketPath)\n".utf8))
    }
  }

  struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "stop", abstract: "End the local bus.")

    func run() async throws {
      let bus = try LocalBus()
      let text = try await bus.stop() ? "the local bus has ended\n" : "no local bus runs\n"
      try StandardStreams.write(Array(text.utf8))
    }
  }

  struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "status", abstract: "Say whether the local bus runs; exit 1 if not.")

    func run() async throws {
      let bus = try LocalBus()
      let runs = try await bus.isRunning()
      let text = runs ? "the local bus runs at \(bus.socketPath)\n" : "no local bus runs\n"
      try StandardStreams.write(Array(text.utf8))
      if !runs { throw ExitCode(ExitStatus.failed.rawValue) }
    }
  }

  /// The process that owns the server; started by `start`, not by people.
  struct Keep: MainThreadCommand {
    static let configuration = CommandConfiguration(
      commandName: "keep", shouldDisplay: false)

    @Option var idle = DurationArgument(LocalBus.defaultIdle)

    mutating func runOnMainThread() throws -> Int32 {
      try LocalBusKeeper(bus: LocalBus(), idle: idle.duration).run()
      return ExitStatus.done.rawValue
    }
  }
}
