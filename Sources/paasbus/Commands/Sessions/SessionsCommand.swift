import ArgumentParser
import ExpressSessions
import PaasbusRedis
import Views

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
  @Option(parsing: .unconditional, help: "Prefix of the keys that hold sessions")
  var prefix = SessionStore.usualPrefix

  @Option(
    help: ArgumentHelp(
      "Members of a session that hold the user's ID, tried in this order", valueName: "paths"))
  var userPath = "user.id,passport.user.id,passport.user,userId"

  func validate() throws {
    guard UserPaths(userPath) != nil else {
      throw ValidationError(
        "--user-path must hold names with dots between them, for example user.id,userId, "
          + "and not __proto__")
    }
    try Echo.refuseSecret(prefix, in: "--prefix")
  }

  /// Runs `body`, and says of a refusal which permissions are needed here.
  func run<Result>(_ body: () async throws -> Result) async throws -> Result {
    do {
      return try await body()
    } catch let error as RedisError {
      guard case .reply(let reply) = error.cause else { throw error }
      switch reply.meaning {
      case .permissionMissing, .keyRefused:
        throw Failure(
          .refused, "Redis refuses: \(reply)",
          remedy: "give this user what it needs for sessions (ACL SETUSER USER ~\(prefix)* "
            + "+ping +scan +strlen +pttl +mget +get +set +del +time +eval +evalsha +script|load)")
      default: throw error
      }
    }
  }

  var userPaths: UserPaths { UserPaths(userPath) ?? .usual }

  func store(_ setup: Setup) async throws -> SessionStore {
    SessionStore(connector: try await setup.connector(), prefix: prefix, userPaths: userPaths)
  }
}

extension SessionsCommand {
  /// The words of a command line with all names of sessions behind a `--`: an id, and its short form, may begin with
  /// a hyphen.
  static func arranged(_ words: [String]) -> [String] {
    guard words.first == Self.configuration.commandName else { return words }
    let end = words.firstIndex(of: "--") ?? words.endIndex
    guard words[..<end].contains(where: isName) else { return words }
    // The duration of 'extend' comes behind the name.
    let isExtend = words.dropFirst().first == SessionsExtendCommand.configuration.commandName
    let duration = words[..<end].indices.first { index in
      isExtend && index > 1 && (!words[index - 1].hasPrefix("--") || isName(words[index - 1]))
        && Duration(typed: words[index]) != nil
    }
    let options = words[..<end].indices.filter { $0 != duration && !isName(words[$0]) }
    return options.map { words[$0] } + ["--"] + words[..<end].filter(isName)
      + [duration.map { words[$0] }].compactMap(\.self) + words[end...].dropFirst()
  }

  /// Whether a word that begins with a hyphen is the name of a session and not an option.
  private static func isName(_ word: String) -> Bool {
    guard word.hasPrefix("-"), !word.contains("=") else { return false }
    if SessionID.isShort(word) { return true }
    return word.utf8.count >= (word.hasPrefix("--") ? 20 : 8)
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
