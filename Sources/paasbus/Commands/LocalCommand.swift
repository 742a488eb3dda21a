import ArgumentParser
import PaasbusRedis
import Presence
import Terminal

struct LocalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "local",
    abstract: "Manage the local bus, a private Redis for trying things out",
    discussion: """
      Commands that find no other Redis use it. It ends 10 minutes after its last client.

      Examples:
        paasbus local start
        paasbus local status
      """,
    subcommands: [Start.self, Stop.self, Status.self, Keep.self]
  )

  struct OutputOptions: ParsableArguments {
    @Flag(help: "Print a JSON object")
    var json = false

    func tell(_ bus: LocalBus, runs: Bool, _ sentence: String) throws {
      guard json else { return try StandardStreams.write(Array("\(sentence)\n".utf8)) }
      var text = JSONText()
      text.member("running", runs)
      text.member("socket", bus.socketPath)
      try StandardStreams.write(text.line)
    }
  }

  struct Start: PaasbusSubcommand {
    static let configuration = CommandConfiguration(
      commandName: "start", abstract: "Start the local bus unless it is running",
      discussion: """
        Examples:
          paasbus local start
          paasbus local start --idle 8h
        """)

    @Option(
      help: ArgumentHelp(
        "Time from its last client until the local bus ends", valueName: "duration"))
    var idle = DurationArgument(LocalBus.defaultIdle)

    @OptionGroup var output: OutputOptions

    var run: CommandRun { .onConnectionThread { try await start() } }

    private func start() async throws {
      let bus = try LocalBus()
      try await bus.start(idle: idle.duration)
      try output.tell(bus, runs: true, "the local bus is running at \(bus.socketPath)")
    }
  }

  struct Stop: PaasbusSubcommand {
    static let configuration = CommandConfiguration(
      commandName: "stop", abstract: "Stop the local bus",
      discussion: """
        Examples:
          paasbus local stop
          paasbus local stop --json
        """)

    @OptionGroup var output: OutputOptions

    var run: CommandRun { .onConnectionThread { try await stop() } }

    private func stop() async throws {
      let bus = try LocalBus()
      let text = try await bus.stop() ? "the local bus has ended" : "no local bus is running"
      try output.tell(bus, runs: false, text)
    }
  }

  struct Status: PaasbusSubcommand {
    static let configuration = CommandConfiguration(
      commandName: "status", abstract: "Tell whether the local bus is running; exit with 1 if not",
      discussion: """
        Examples:
          paasbus local status
          paasbus local status --json
        """)

    @OptionGroup var output: OutputOptions

    var run: CommandRun { .onConnectionThread { try await status() } }

    private func status() async throws {
      let bus = try LocalBus()
      let runs = try await bus.isRunning()
      let text = runs ? "the local bus is running at \(bus.socketPath)" : "no local bus is running"
      try output.tell(bus, runs: runs, text)
      if !runs { throw ExitCode(ExitStatus.failed.rawValue) }
    }
  }

  /// The process that owns the server; started by `start`, not by people.
  struct Keep: PaasbusSubcommand {
    static let configuration = CommandConfiguration(
      commandName: "keep", shouldDisplay: false)

    @Option var idle = DurationArgument(LocalBus.defaultIdle)

    var run: CommandRun {
      .onMainThread {
        try LocalBusKeeper(bus: LocalBus(), idle: idle.duration).run()
        return ExitStatus.done.rawValue
      }
    }
  }
}
