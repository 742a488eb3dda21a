import ArgumentParser
import ExpressSessions
import Terminal
import Views

struct SessionsShowCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show what a session holds",
    discussion: """
      Members whose names say that they hold a secret are masked, and so is the session's ID. For a cookie, \
      the app's secret is needed.

      Examples:
        paasbus sessions show VbH9u_~843cb473
        paasbus sessions show --json "$COOKIE"
      """)

  @Argument(help: "Session: its ID, its short form, or its cookie")
  var session: String

  @Flag(help: "Show the ID and the members that hold secrets")
  var reveal = false

  @Flag(help: "Print a JSON object")
  var json = false

  @OptionGroup var sessions: SessionOptions

  @OptionGroup var secrets: SessionSecretOptions

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  var run: CommandRun { .onConnectionThread { try await sessions.run(show) } }

  private func show() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let finder = SessionFinder(try await sessions.store(setup), setup, secrets)
    let found = try await finder.find(session)
    guard let session = try await finder.store.read(found.id) else {
      throw Failure(noSession: found.id.text)
    }
    let details = SessionDetails(
      session: session, secret: found.secret,
      secretCount: found.secretCount, isRevealed: reveal)
    try StandardStreams.write(json ? details.json : details.lines)
  }
}
