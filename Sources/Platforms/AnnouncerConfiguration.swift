import NIOCore
import PaasbusRedis
import Presence

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What an announcer needs: the instance to announce, and the Redis. They are found as the command
/// `paasbus announce` finds them, and may be changed afterwards.
public struct AnnouncerConfiguration: Sendable {
  /// The instance to announce.
  public var instance: Instance
  /// nil where no Redis is named.
  public var connector: RedisConnector?
  /// How it is announced.
  public var options = Announcer.Options()

  /// - Parameters:
  ///   - environment: the process's variables: the platform's, the provider's, and `PAASBUS_URL`,
  ///     `PAASBUS_APP`, `PAASBUS_CHANNEL`, `PAASBUS_TLS_CA`, `PAASBUS_TLS_INSECURE`.
  ///   - eventLoop: where the connection lives; nil for one of ours.
  /// - Throws: ``RedisLocatorError`` where the first variable that names a Redis cannot be read,
  ///   `TLSFileError`.
  public init(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    eventLoop: (any EventLoop)? = nil
  ) throws {
    let id = InstanceID.make()
    let identity = PlatformIdentity.detect(
      environment: environment, bootID: id, hostName: Machine.hostName, processID: getpid())
    let app = environment.settledName("PAASBUS_APP") ?? identity.app ?? Keys.defaultApp
    instance = Instance(
      identity, app: Keys.appName(from: app), id: id, lease: Announcer.defaultLease,
      processID: getpid())
    connector = try RedisDiscovery(environment: environment)?.connector(eventLoop: eventLoop)
    options.channel = environment.settledName("PAASBUS_CHANNEL")
  }
}

/// What the system tells about this machine.
public enum Machine {
  /// The name of this host; `localhost` where it has none.
  public static var hostName: String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension Instance {
  /// An instance with the values that its platform gives.
  ///
  /// - Parameters:
  ///   - app: in the characters that keys may have.
  ///   - processID: the id of the instance's process.
  public init(
    _ identity: PlatformIdentity, app: String, id: String, lease: Duration, processID: Int32
  ) {
    self.init(app: app, id: id, name: identity.name, lease: lease)
    process = identity.process
    host = Machine.hostName
    pid = Int(processID)
    platform = identity.platform
    release = identity.release
    commit = identity.commit
    region = identity.region
    meta = identity.meta
  }
}
