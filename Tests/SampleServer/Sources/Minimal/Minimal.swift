import Logging
import PresenceService
import ServiceLifecycle

@main
struct Main {
  static func main() async throws {
    let logger = Logger(label: "shop")
    let presence = try PresenceService(logger: logger, around: Server())
    let group = ServiceGroup(
      services: [presence], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    try await group.run()
  }
}

struct Server: Service {
  func run() async throws { try await gracefulShutdown() }
}
