import ArgumentParser
import ExpressSessions
import Presence
import Terminal
import Views

struct SessionsEndCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "end",
    abstract: "End sessions, so that their users are logged out",
    discussion: """
      A request of the app that is under way may save its session again. So paasbus watches for some seconds \
      whether one comes back, and ends it again. It exits with 1 if one is there in the end.

      Examples:
        paasbus sessions end VbH9u_~f3e9a1b2
        paasbus sessions end --user 42
        paasbus sessions end --all --yes --prefix shop:sess:
      """)

  @Argument(
    help: ArgumentHelp(
      "Sessions: their IDs, short forms or cookies", valueName: "session"))
  var names: [String] = []

  @Option(help: ArgumentHelp("End all sessions of the user with this ID", valueName: "id"))
  var user: String?

  @Flag(help: "End all sessions, after asking")
  var all = false

  @Flag(help: "Do not ask")
  var yes = false

  @Option(
    help: ArgumentHelp("Time to watch whether a session comes back", valueName: "duration"))
  var watch = DurationArgument(.seconds(5))

  @Flag(help: "Print one JSON object per session")
  var json = false

  @OptionGroup var sessions: SessionOptions

  @OptionGroup var secrets: SessionSecretOptions

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  func validate() throws {
    let choices = [!names.isEmpty, user != nil, all].filter { $0 }.count
    guard choices == 1 else { throw ValidationError("give sessions, or --user ID, or --all") }
    if all, sessions.prefix.isEmpty {
      throw ValidationError("--all needs a --prefix that is not empty")
    }
  }

  var run: CommandRun { .onPool { try await end() } }

  private func end() async throws {
    let setup = Setup(connection)
    let store = try await sessions.store(setup)
    if all, !yes {
      try Confirmation.ask(
        "End all sessions under '\(Visible.text(store.prefix))'?", for: "sessions end --all",
        otherwise: "no session was ended")
    }
    let (selection, missing) = try await selection(SessionFinder(store, setup, secrets))
    let endings = try await store.end(selection, watch: watch.duration) { endings in
      if !json { try StandardStreams.write(report.ended(endings)) }
    }
    guard let endings else { throw Failure(noSessionsUnder: store.prefix) }
    try StandardStreams.write(json ? report.json(endings) : report.returned(endings))
    let back = endings.filter { !$0.isGone }
    guard back.isEmpty else {
      throw Failure(
        .failed, "\(count(back.count, "session")) came back until the end",
        remedy: "see 'paasbus sessions list', and watch for longer with --watch")
    }
    if let missing { throw missing }
  }

  private var report: SessionEndingReport { SessionEndingReport(hasManyUsers: all) }

  /// - Returns: what is to be ended, and the first name for which there is no session, which keeps no other
  ///   from being ended.
  private func selection(
    _ finder: SessionFinder
  ) async throws -> (SessionSelection, missing: Failure?) {
    if let user { return (.user(Array(user.utf8)), nil) }
    if all { return (.all, nil) }
    var ids: [SessionID] = []
    var missing: Failure?
    for name in names {
      do {
        ids.append(try await finder.find(name).id)
      } catch let failure as Failure where failure.status == .failed {
        missing = missing ?? failure
      }
    }
    return (.ids(ids), missing)
  }
}
