import ArgumentParser
import ExpressSessions
import PaasbusRedis
import Presence
import Terminal
import Views

struct SessionsEndCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "end",
    abstract: "End sessions, so that their users are logged out",
    discussion: """
      A request that is running in the app may save its session again. So paasbus watches for \
      some seconds whether a session comes back, and ends it again. It exits with 1 if a session \
      is still there at the end.

      Examples:
        paasbus sessions end VbH9u_~843cb473
        paasbus sessions end --user 42
        paasbus sessions end --all --yes --prefix shop:sess:
      """)

  @Argument(
    help: ArgumentHelp(
      "Sessions: their IDs, short forms or cookies", valueName: "session"))
  var names: [String] = []

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("End all sessions of the user with this ID", valueName: "id"))
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

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    let choices = [!names.isEmpty, user != nil, all].filter { $0 }.count
    guard choices == 1 else { throw ValidationError("give sessions, or --user ID, or --all") }
    if all, sessions.prefix.isEmpty {
      throw ValidationError("--all needs a --prefix that is not empty")
    }
  }

  var run: CommandRun { .onPool { try await sessions.run(end) } }

  private func end() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let store = try await sessions.store(setup)
    if all, !yes { try await confirm(store) }
    let (selection, missing) = try await selection(SessionFinder(store, setup, secrets))
    let report = SessionEndingReport(hasManyUsers: all)
    var ended: [SessionEnding] = []
    // Whoever does not read our output does not keep us from watching.
    var outputError: (any Error)?
    func tell(_ bytes: [UInt8]) {
      guard outputError == nil else { return }
      do { try StandardStreams.write(bytes) } catch { outputError = error }
    }
    let endings: [SessionEnding]?
    do {
      endings = try await store.end(selection, watch: watch.duration) {
        ended = $0
        if !json { tell(report.ended($0)) }
      }
    } catch let error as RedisError where !ended.isEmpty {
      if json { tell(report.json(ended, isWatched: false)) }
      let failure = Failure(error)
      throw Failure(
        failure.status,
        "\(count(ended.count, "session")) ended, but not watched to the end: \(failure.problem)",
        remedy: "see 'paasbus sessions list', and end those that came back")
    }
    guard let endings else { throw Failure(noSessionsUnder: store.prefix) }
    tell(json ? report.json(endings) : report.returned(endings))
    let back = endings.filter { !$0.isGone }
    guard back.isEmpty else {
      throw Failure(
        .failed, "\(count(back.count, "session")) came back at the end",
        remedy: "see 'paasbus sessions list', and watch for longer with --watch")
    }
    if let missing { throw missing }
    if let outputError { throw outputError }
  }

  private func confirm(_ store: SessionStore) async throws {
    var found = 0
    try await store.forEachPage { page in found += page.sessions.count { $0.kind != .unreadable } }
    try Confirmation.ask(
      "End \(count(found, "session")) under '\(Visible.text(store.prefix))'?",
      for: "sessions end --all", otherwise: "no session was ended")
  }

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
