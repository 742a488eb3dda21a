import ArgumentParser
import Terminal

struct DoctorCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", _superCommandName: "paasbus",
    abstract:
      "Check configuration, connection, permissions and message delivery",
    discussion: """
      Each check is one line: ok, warn or fail, what was found, and what to do. Exits with 1 if a \
      check failed.

      Examples:
        paasbus doctor
        paasbus doctor --json --url redis://localhost
      """
  )

  @Flag(help: "Print one JSON object per line")
  var json = false

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  var run: CommandRun { .onConnectionThread { try await examine() } }

  private func examine() async throws {
    var hasFailed = false
    let examination = Examination(setup: Setup(connection, timeout: limit.duration)) { finding in
      if finding.status == .fail { hasFailed = true }
      try StandardStreams.write(finding.line(isJSON: json))
    }
    try await examination.run()
    if hasFailed { throw ExitCode(ExitStatus.failed.rawValue) }
  }
}
