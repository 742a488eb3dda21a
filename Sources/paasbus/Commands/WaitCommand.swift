import ArgumentParser
import Terminal
import Views

struct WaitCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "wait", _superCommandName: "paasbus",
    abstract: "Wait until N instances are up, or none are left",
    discussion: """
      For deploy scripts: exits with 0 as soon as the condition is met, with 124 if it times out, and \
      with 69 if Redis cannot be reached at the start. With --exactly, it also waits until no instance \
      of another release is left.

      Examples:
        paasbus wait --count 3 --release v43 --exactly --timeout 5m
        paasbus wait --gone --name 'worker.*' --timeout 30s
      """
  )

  @Option(help: "Number of instances that have to be up (default: 1)")
  var count: Int?

  @Option(help: "Count only instances of this release")
  var release: String?

  @Option(help: ArgumentHelp("Count only instances whose name matches", valueName: "glob"))
  var name: String?

  @Flag(help: "Wait until no instance is up or stopping")
  var gone = false

  @Flag(help: "Require exactly this number, and no instance of another release")
  var exactly = false

  @Option(help: ArgumentHelp("Time limit: 90s, 5m, 1h", valueName: "duration"))
  var timeout: DurationArgument

  @Flag(help: "Print the result as a JSON object")
  var json = false

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  func validate() throws {
    if let count, count < 1 {
      throw ValidationError("--count must be at least 1; to wait for none, use --gone")
    }
    if gone, count != nil || exactly {
      throw ValidationError("--gone cannot be used with --count or --exactly")
    }
  }

  var run: CommandRun { .serving(isDrawing: true) { try await run(until: $0) } }

  private func run(until signals: AsyncStream<String>) async throws {
    let goal = WaitGoal(
      condition: gone ? .gone : exactly ? .exactly(count ?? 1) : .atLeast(count ?? 1),
      release: release, name: name)
    let setup = Setup(connection, timeout: TimeLimitOptions.usual)
    let waiting = Waiting(goal, limit: timeout.duration, setup)
    do {
      try await CurrentDrawing.with(waiting.statusLine) {
        try await waiting.run(until: signals)
      }
    } catch let failure as Failure where failure.status == .timedOut {
      if json { try StandardStreams.write(waiting.result(isMet: false)) }
      throw failure
    }
    if json { try StandardStreams.write(waiting.result(isMet: true)) }
    if StandardStreams.isTerminal(2) { setup.diagnostics.note(.waited(waiting.summary)) }
  }
}
