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
  let watcher: Watcher?

  func run() async throws {
    say("serving")
    try? await gracefulShutdown()
    let present = try? await watcher?.present()
    let states = present?.map(\.state.rawValue) ?? ["unknown"]
    say("shutting down while it is \(states.joined(separator: ","))")
  }
}

/// Stands for a server that fails once it is announced.
struct Failing: Service {
  struct Failure: Error {}

  func run() async throws {
    try await Task.sleep(for: .seconds(1))
    throw Failure()
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
    let logger = Logger(label: "sample", factory: { StreamLogHandler.standardError(label: $0) })
    let configuration = try AnnouncerConfiguration()
    let watcher = configuration.connector.map {
      Watcher(app: configuration.instance.app, connector: $0)
    }
    let services: [any Service] =
      switch CommandLine.arguments.dropFirst().first {
      case "alone": [try PresenceService(logger: logger)]
      case "watch": watcher.map { [Doorkeeper(watcher: $0)] } ?? []
      case "fail": [try PresenceService(logger: logger, around: Failing())]
      default: [try PresenceService(logger: logger, around: Server(watcher: watcher))]
      }
    let group = ServiceGroup(
      services: services, gracefulShutdownSignals: [.sigterm, .sigint],
      cancellationSignals: [.sigquit], logger: logger)
    do {
      try await group.run()
      say("ended")
    } catch {
      say("ended by \(error)")
    }
  }
}

/// A line at once, also into a pipe.
func say(_ text: String) {
  print(text)
  fflush(nil)
}
