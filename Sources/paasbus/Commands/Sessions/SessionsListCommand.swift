import ArgumentParser
import ExpressSessions
import Supervisor
import Terminal
import Views

struct SessionsListCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the sessions",
    discussion: """
      Each session is shown by a short form of its ID, which the other commands take. Nobody can \
      log in with it. Up to 1,000 sessions are sorted by user.

      Examples:
        paasbus sessions list
        paasbus sessions list --user 42 --json
      """)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Show only sessions of the user with this ID", valueName: "id"))
  var user: String?

  @Option(
    help: ArgumentHelp("Show only sessions that end within this time", valueName: "duration"))
  var expiring: DurationArgument?

  @Flag(help: "Show only sessions without a user")
  var anonymous = false

  @Flag(help: "Print one JSON object per line")
  var json = false

  @OptionGroup var sessions: SessionOptions

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    if user != nil, anonymous {
      throw ValidationError("--user and --anonymous cannot be used together")
    }
  }

  var run: CommandRun { .untilSignalled(isDrawing: true) { try await run(until: $0) } }

  private func run(until signals: AsyncStream<String>) async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let store = try await sessions.store(setup)
    let listing = SessionListing(json: json, setup, store, passes: passes)
    try await CurrentDrawing.with(listing.statusLine) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await sessions.run { try await listing.run() } }
        group.addTask {
          for await name in signals { throw ExitCode(128 + (SignalName.number(of: name) ?? 0)) }
          try await Task.sleep(for: .seconds(Int32.max))
        }
        defer { group.cancelAll() }
        try await group.next()
      }
    }
  }

  private func passes(_ session: Session) -> Bool {
    if let user, session.user?.id != Array(user.utf8) { return false }
    if anonymous, session.kind != .anonymous { return false }
    if let expiring {
      guard let left = session.left, left <= expiring.duration.milliseconds else { return false }
    }
    return true
  }
}
