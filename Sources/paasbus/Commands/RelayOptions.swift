import ArgumentParser
import ExpressSessions
import Gateway
import PaasbusRedis
import Platforms

/// What `serve --relay` needs to know.
struct RelayOptions: ParsableArguments {
  @Flag(help: "Relay workers' messages to the browsers of their users, at /relay")
  var relay = false

  @Option(
    help: ArgumentHelp(
      "Let pages of this origin connect to the relay; repeatable", valueName: "origin"))
  var origin: [String] = []

  @Option(help: ArgumentHelp("Name of the app's session cookie", valueName: "name"))
  var cookie = "connect.sid"

  @Option(
    help: ArgumentHelp(
      "Redis URL of the app's sessions, if they are not on the same Redis", valueName: "url"))
  var sessionsURL: String?

  @Flag(help: "Let an open socket prolong its session, as a request to the app does")
  var touch = false

  @Option(help: ArgumentHelp("Size limit of a relayed message", valueName: "bytes"))
  var maxMessage = 131_072

  @Option(help: ArgumentHelp("Maximum number of sockets in all", valueName: "count"))
  var maxSockets = 10_000

  @Option(help: ArgumentHelp("Maximum number of sockets of one user", valueName: "count"))
  var maxSocketsPerUser = 16

  func validate() throws {
    guard maxMessage > 0, maxMessage <= 16 * 1024 * 1024 else {
      throw ValidationError("--max-message must be from 1 to 16777216")
    }
    guard maxSockets > 0, maxSocketsPerUser > 0 else {
      throw ValidationError("--max-sockets and --max-sockets-per-user must be at least 1")
    }
    for origin in origin {
      let scheme = ["http://", "https://"].first { origin.lowercased().hasPrefix($0) }
      guard let scheme, Access.hostName(String(origin.dropFirst(scheme.count))) != nil else {
        throw ValidationError("--origin must be like https://shop.example.com")
      }
    }
  }
}

extension ServeCommand {
  /// - Parameter connector: leads to the Redis of the bus.
  /// - Returns: nil where nothing is relayed.
  /// - Throws: ``Failure``, `RedisURLError`.
  func relayConfiguration(
    _ setup: Setup, _ connector: RedisConnector
  ) throws -> RelayConfiguration? {
    guard relay.relay else { return nil }
    var sessionsConnector = connector
    if let sessionsURL = relay.sessionsURL {
      do {
        sessionsConnector = RedisConnector(
          endpoint: try RedisEndpoint(url: sessionsURL), tls: connector.tls,
          timeout: connector.timeout)
      } catch {
        throw Failure(
          .configuration, "--sessions-url is not a Redis URL",
          remedy: "give it like redis://HOST:6379")
      }
    }
    sessionsConnector.name = "paasbus:sessions"
    var configuration = RelayConfiguration(
      sessions: SessionStore(
        connector: sessionsConnector, prefix: sessions.prefix, userPaths: sessions.userPaths),
      secrets: try .configured(secrets, setup))
    configuration.cookie = relay.cookie
    if let relayChannel { configuration.channel = relayChannel }
    configuration.origins = Set(relay.origin.map { $0.lowercased() })
    configuration.touches = relay.touch
    configuration.maxMessage = relay.maxMessage
    configuration.maxSockets = relay.maxSockets
    configuration.maxSocketsPerUser = relay.maxSocketsPerUser
    return configuration
  }
}
