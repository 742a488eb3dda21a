import Logging
import Platforms
import Presence
import ServiceLifecycle
import Synchronization

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Announces this process as an instance of its app, for as long as a `ServiceGroup` runs it.
///
/// Redis and the instance's identity are found in the environment, as the command `paasbus announce` finds
/// them. An outage of Redis, or a refusal, is logged and never ends the service; without any Redis in the
/// environment nothing is announced.
///
/// The services of a group stop one after the other. To publish both when the app starts to drain
/// and when it has ended, put the app's own service inside:
///
/// ```swift
/// let presence = try PresenceService(logger: logger, around: server)
/// let group = ServiceGroup(
///   services: [presence], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
/// try await group.run()
/// ```
///
/// On a graceful shutdown `stopping` (reason `shutdown`) is published, the service inside is shut
/// down, and once it has ended, `stop` is published. Without a service inside, only `stop` is
/// published. A cancellation does the same.
public struct PresenceService: Service {
  /// How long the publishing of `stopping` may delay the app's shutdown.
  private static let drainPatience = Duration.seconds(1)
  private static let shutdown = "shutdown"

  private let configuration: AnnouncerConfiguration
  private let logger: Logger
  private let service: (any Service)?

  /// - Parameters:
  ///   - environment: the variables of this process.
  ///   - service: the app's own service, which runs inside.
  /// - Throws: `RedisLocatorError` where the variable that names the Redis cannot be read, `TLSFileError`
  ///   where a file for TLS cannot be used.
  public init(
    environment: [String: String] = ProcessInfo.processInfo.environment, logger: Logger,
    around service: (any Service)? = nil
  ) throws {
    self.init(
      configuration: try AnnouncerConfiguration(environment: environment), logger: logger,
      around: service)
  }

  /// - Parameter service: the app's own service, which runs inside.
  public init(
    configuration: AnnouncerConfiguration, logger: Logger, around service: (any Service)? = nil
  ) {
    self.configuration = configuration
    self.logger = logger
    self.service = service
  }

  /// Announces until a graceful shutdown, a cancellation, or the end of the service inside.
  ///
  /// - Throws: what the service inside throws.
  public func run() async throws {
    guard let announcer = announcer() else {
      logger.notice("not announced: the environment names no Redis")
      return try await runAlone()
    }
    // A task of its own, since the end has to be announced even where this task is cancelled.
    let announcing = Task { try await announcer.run() }
    var result = Result<Void, any Error>.success(())
    if let service {
      result = await run(service, announcer)
    } else {
      await withTaskCancellationOrGracefulShutdownHandler {
        _ = await announcing.result
      } onCancelOrGracefulShutdown: {
        announcer.stop(reason: Self.shutdown)
      }
    }
    log(await announcing.result)
    try result.get()
  }

  // MARK: Announcing

  private func announcer() -> Announcer? {
    guard let connector = configuration.connector else { return nil }
    var options = configuration.options
    options.failsWhenRefused = false
    let logger = logger
    return Announcer(configuration.instance, connector: connector, options: options) { notice in
      switch notice {
      case .announced(let channel, _):
        logger.info("announced", metadata: ["channel": "\(channel)"])
      case .connectionLost(let error):
        logger.warning("not connected to Redis, trying again", metadata: ["error": "\(error)"])
      case .connectionBack: logger.info("connected to Redis again")
      }
    }
  }

  private func log(_ result: Result<Announcer.Ending, any Error>) {
    switch result {
    case .success(.undelivered(let error)):
      logger.error(
        "the stop could not be delivered; watchers report the instance lost",
        metadata: ["error": "\(error.map { "\($0)" } ?? "no answer in time")"])
    case .failure(let error): logger.error("not announced", metadata: ["error": "\(error)"])
    case .success: break
    }
  }

  // MARK: The service inside

  /// Runs the service in a group of its own, which the graceful shutdown of this task does not
  /// reach. The service is shut down only once `stopping` is on the bus, or the time for that is
  /// over.
  private func run(_ service: any Service, _ announcer: Announcer) async -> Result<Void, any Error>
  {
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
        logger: logger))
    let isAsked = Atomic(false)
    let running = Task.detached { try await group.run() }
    let result = await withTaskCancellationHandler {
      await withGracefulShutdownHandler {
        await running.result
      } onGracefulShutdown: {
        isAsked.store(true, ordering: .relaxed)
        Task {
          await announcer.drain(reason: Self.shutdown, within: Self.drainPatience)
          await group.triggerGracefulShutdown()
        }
      }
    } onCancel: {
      isAsked.store(true, ordering: .relaxed)
      announcer.drain(reason: Self.shutdown)
      running.cancel()
    }
    announcer.stop(reason: isAsked.load(ordering: .relaxed) ? Self.shutdown : "exit")
    return result
  }

  private func runAlone() async throws {
    if let service { return try await service.run() }
    try? await gracefulShutdown()
  }
}
