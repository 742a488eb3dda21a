import ArgumentParser
import ExpressSessions
import PaasbusRedis

struct SessionsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sessions",
    abstract: "List, show, end, extend and open the sessions of an Express app",
    discussion: """
      The app keeps its sessions in Redis with express-session and connect-redis, in any version.

      Examples:
        paasbus sessions list
        paasbus sessions end --user 42
      """,
    subcommands: [
      SessionsListCommand.self, SessionsShowCommand.self, SessionsEndCommand.self,
      SessionsExtendCommand.self, SessionsOpenCommand.self,
    ]
  )
}

/// Where the sessions are.
struct SessionOptions: ParsableArguments {
  @Option(help: "Prefix of the keys that hold sessions")
  var prefix = SessionStore.usualPrefix

  @Option(
    help: ArgumentHelp(
      "Members of a session that hold the user's ID, tried in this order", valueName: "paths"))
  var userPath = "user.id,passport.user.id,passport.user,user,userId"

  func validate() throws {
    guard UserPaths(userPath) != nil else {
      throw ValidationError(
        "--user-path must hold names with dots between them, for example user.id,userId")
    }
    try Echo.refuseSecret(prefix, in: "--prefix")
  }

  var userPaths: UserPaths { UserPaths(userPath) ?? .usual }

  func store(_ setup: Setup) async throws -> SessionStore {
    SessionStore(connector: try await setup.connector(), prefix: prefix, userPaths: userPaths)
  }
}

/// Where the secrets of the app's cookies are.
struct SessionSecretOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "File with the secrets of the session cookies, one per line, the one that signs first "
        + "(default: PAASBUS_SESSION_SECRET)", valueName: "file"),
    completion: .file())
  var secretFile: String?
}
