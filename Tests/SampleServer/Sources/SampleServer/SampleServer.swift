import Logging
import Platforms
import Presence
import PresenceService
import ServiceLifecycle

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Stands for a server: it serves until it is shut down, and then takes a moment to end.
struct Server: Service {
  let watcher: Watcher

  func run() async throws {
    say("serving")
    try? await gracefulShutdown()
    let states = try await watcher.present().map(\.state.rawValue)
    say("shutting down while it is \(states.joined(separator: ","))")
  }
}

/// Says who joins and leaves.
struct Doorkeeper: Service {
  let watcher: Watcher

  func run() async throws {
    for try await event in watcher.events.cancelOnGracefulShutdown() {
      say("\(event.type.rawValue) \(event.instance.name)")
    }
  }
}

@main
enum SampleServer {
  static func main() async throws {
    let logger = Logger(label: "sample", factory: StreamLogHandler.standardError)
    let configuration = try AnnouncerConfiguration()
    guard let connector = configuration.connector else { return say("no Redis") }
    let watcher = Watcher(app: configuration.instance.app, connector: connector)
    let services: [any Service] =
      switch CommandLine.arguments.dropFirst().first {
      case "alone": [try PresenceService(logger: logger)]
      case "watch": [Doorkeeper(watcher: watcher)]
      default: [try PresenceService(logger: logger, around: Server(watcher: watcher))]
      }
    let group = ServiceGroup(
      services: services, gracefulShutdownSignals: [.sigterm, .sigint],
      cancellationSignals: [.sigquit], logger: logger)
    try await group.run()
    say("ended")
  }
}

/// A line at once, also into a pipe.
func say(_ text: String) {
  print(text)
  fflush(nil)
}
