import ArgumentParser
import ExpressSessions
import Presence
import Terminal
import Views

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

struct SessionsOpenCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "open",
    abstract: "Open a session for a user and print its cookie, for tests and support",
    discussion: """
      The user is read from standard input as JSON: the members of the session as the app has \
      them, or only the user's ID, which is put at the first path of --user-path. A member paasbus \
      marks the session. Only someone who has the app's secret and its Redis can open one.

      Examples:
        echo '{"user":{"id":"42"}}' | paasbus sessions open
        echo 42 | paasbus sessions open --max-age 10m --user-path userId
      """)

  private static let longest = Duration.seconds(24 * 3600)

  @Option(
    help: ArgumentHelp(
      "Time that it lasts after its last request, at most 24h", valueName: "duration"))
  var maxAge = DurationArgument(.seconds(3600))

  @Flag(help: "Print a JSON object")
  var json = false

  @OptionGroup var sessions: SessionOptions

  @OptionGroup var secrets: SessionSecretOptions

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    guard (.seconds(1)...Self.longest).contains(maxAge.duration) else {
      throw ValidationError("--max-age must be between 1s and 24h")
    }
  }

  var run: CommandRun { .onConnectionThread { try await sessions.run(open) } }

  private func open() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    if StandardStreams.isTerminal(0) { setup.diagnostics.note(.readingUser) }
    let signing = try SessionSecrets.configured(secrets, setup)
    let (members, user) = try members()
    let store = try await sessions.store(setup)
    let id: SessionID
    do {
      id = try await store.create(members, maxAge: maxAge.duration)
    } catch SessionError.unreadable(let fault) {
      throw Failure(.usage, "the session would be \(fault.text)", remedy: "give a smaller user")
    }
    do {
      try tell(id, user, signing.cookie(for: id))
    } catch {
      // Nobody has its cookie.
      _ = try? await store.end(.ids([id]), watch: .zero)
      throw error
    }
    setup.diagnostics.note(.openedSession(short: id.short, user: user.text, path: user.path))
  }

  private func tell(_ id: SessionID, _ user: SessionUser, _ cookie: String) throws {
    if json {
      var text = JSONText()
      text.member("session", id.short)
      text.member("user", user.text)
      text.member("path", user.path)
      text.member("cookie", cookie)
      text.member("maxAge", maxAge.duration.milliseconds)
      try StandardStreams.write(text.line)
    } else {
      try StandardStreams.write(Array("\(cookie)\n".utf8))
    }
  }

  /// - Throws: ``Failure`` for input that is no user.
  private func members() throws -> (json: [UInt8], user: SessionUser) {
    do {
      // One byte more than what is taken, so that it is told as too large.
      let input = try StandardStreams.readInput(atMost: JSONDocument.maxSize + 1)
      guard let found = try sessions.userPaths.members(for: input) else {
        throw Failure(
          .usage, "the JSON on standard input names no user at \(sessions.userPath)",
          remedy: #"give for example {"user":{"id":"42"}}, or another --user-path"#)
      }
      return found
    } catch UserPaths.Fault.reserved(let name) {
      throw Failure(
        .usage, "the session would hold a member \(name), which paasbus writes itself",
        remedy: "leave it out of the JSON and of --user-path")
    } catch StreamError.cannotRead(let number) {
      throw Failure(
        .usage, "cannot read standard input (\(String(cString: strerror(number))))",
        remedy: #"give the user as JSON there, for example {"user":{"id":"42"}}"#)
    } catch UserPaths.Fault.content(let fault) {
      throw Failure(
        .usage, "standard input is \(fault.text)",
        remedy: #"give the user as JSON, for example {"user":{"id":"42"}}"#)
    }
  }
}
