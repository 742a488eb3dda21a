import ArgumentParser
import Terminal
import Views

struct WaitCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "wait", _superCommandName: "paasbus",
    abstract: "Wait until so many instances are up, or none is any more.",
    discussion: """
      For deploy scripts: exits 0 as soon as it is so, 124 at the time-out, and 69 where Redis is \
      not there to begin with. With --release, only instances of that release count; with --exactly, \
      nobody of another one may be left either.

      Examples:
        paasbus wait --count 3 --release v43 --exactly --timeout 5m
        paasbus wait --gone --name 'worker.*' --timeout 30s
      """
  )

  @Option(help: "How many have to be up. (default: 1)")
  var count: Int?

  @Option(help: "Only instances of this release count.")
  var release: String?

  @Option(help: ArgumentHelp("Only instances whose name matches count.", valueName: "glob"))
  var name: String?

  @Flag(help: "Wait until none is up or stopping.")
  var gone = false

  @Flag(help: "Not more than that many, and none of another release.")
  var exactly = false

  @Option(help: ArgumentHelp("How long to wait at the most: 90s, 5m, 1h.", valueName: "duration"))
  var timeout: DurationArgument

  @Flag(help: "Print how it ended as a JSON object.")
  var json = false

  @OptionGroup(title: "Connection") var server: ServerOptions

  func validate() throws {
    if let count, count < 1 {
      throw ValidationError("--count must be at least 1; for none there is --gone")
    }
    if gone, count != nil || exactly {
      throw ValidationError("--gone goes without --count and --exactly")
    }
  }

  var run: CommandRun { .untilSignalled(isDrawing: true) { try await run(until: $0) } }

  private func run(until signals: AsyncStream<String>) async throws {
    let goal = WaitGoal(
      condition: gone ? .gone : exactly ? .exactly(count ?? 1) : .atLeast(count ?? 1),
      release: release, name: name)
    let setup = Setup(server, timeout: ConnectionOptions.usualTimeout)
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
    if StandardStreams.isTerminal(2) { setup.diagnostics.note(waiting.summary) }
  }
}
