import ArgumentParser
import Presence
import Terminal

struct TopCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "top", _superCommandName: "paasbus",
    abstract: "Show the instances in a full-screen table that stays up to date",
    discussion: """
      Keys: q quits; n, u, b, m, c, r and s sort by name, up time, last heartbeat, memory, CPU, \
      release and state, and in reverse if pressed again; / filters; the arrows move; enter shows \
      the details of an instance.

      Examples:
        paasbus top
        paasbus top --app shop
      """
  )

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  var run: CommandRun { .following(isDrawing: true) { try await show() } }

  private func show() async throws {
    guard StandardStreams.isTerminal(0), StandardStreams.isTerminal(1) else {
      throw Failure(.usage, "top needs a terminal", remedy: "use 'paasbus list' or 'paasbus watch'")
    }
    let setup = Setup(connection, timeout: limit.duration)
    guard CurrentDrawing.isPossible(on: 1, environment: setup.environment) else {
      throw Failure(
        .usage, "paasbus cannot draw on this terminal (TERM)",
        remedy: "set TERM to the type of the terminal, or use 'paasbus list'")
    }
    let connector = try await setup.connector()
    let app = try await setup.readableApp(by: connector)
    let typography = Typography.of(
      descriptor: 1, color: connection.color, environment: setup.environment)
    let top = Top(setup: setup, connector: connector, typography: typography)
    try await CurrentDrawing.with(top.screen) {
      try await top.run(app: app)
    }
  }
}
