import PaasbusRedis
import Platforms
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

/// A private redis-server of this user on this machine, on a Unix socket, without a port and
/// without persistence. A keeper process owns it; this type has what the other processes need.
struct LocalBus: Sendable {
  /// How long after its last client it ends.
  static let defaultIdle = Duration.seconds(600)
  /// How long a start or an end may take.
  private static let patience = Duration.seconds(10)

  /// The folder with the socket and the keeper's lock; ours alone.
  let directory: String

  var socketPath: String { directory + "/redis.sock" }
  var lockPath: String { directory + "/keeper.lock" }
  var endpoint: RedisEndpoint { RedisEndpoint(address: .unixSocket(path: socketPath)) }

  /// - Throws: ``Failure`` where there is no folder that only this user can enter.
  init(environment: [String: String] = ProcessInfo.processInfo.environment) throws {
    directory = try Self.privateDirectory(environment)
    guard socketPath.utf8.count <= 107 else {
      throw Failure(
        .configuration, "the path \(socketPath) is too long for a socket",
        remedy: "set XDG_RUNTIME_DIR to a shorter one")
    }
  }

  private static func privateDirectory(_ environment: [String: String]) throws -> String {
    let user = getuid()
    let candidates = [environment["XDG_RUNTIME_DIR"] ?? "", "/run/user/\(user)"]
    let base = candidates.first { $0.hasPrefix("/") && isOwnFolder($0) }
    let path = base.map { $0 + "/paasbus" } ?? "/tmp/paasbus-\(user)"
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
      throw Failure(
        .configuration, "cannot make \(path) (\(String(cString: strerror(errno))))",
        remedy: "set XDG_RUNTIME_DIR to a folder of yours")
    }
    guard isOwnFolder(path), isPrivate(path) else {
      throw Failure(
        .configuration, "\(path) is not a folder that only you can enter",
        remedy: "remove it, or make it yours with mode 0700")
    }
    return path
  }

  private static func status(_ path: String) -> stat? {
    var status = stat()
    // `lstat` and not `stat`, since a link to another user's folder must not count as our folder.
    return lstat(path, &status) == 0 ? status : nil
  }

  private static func isOwnFolder(_ path: String) -> Bool {
    guard let status = status(path) else { return false }
    return status.st_mode & S_IFMT == S_IFDIR && status.st_uid == getuid()
  }

  private static func isPrivate(_ path: String) -> Bool {
    status(path).map { $0.st_mode & 0o777 == 0o700 } ?? false
  }

  // MARK: State

  /// Whether a server answers on the socket.
  func isRunning() async throws -> Bool {
    guard access(socketPath, F_OK) == 0 else { return false }
    let connector = RedisConnector(endpoint: endpoint, timeout: .seconds(2))
    return (try? await connector.withConnection { _ in true }) ?? false
  }

  /// Starts the server unless it runs. Even if many processes do so at once, there is only one
  /// server.
  ///
  /// - Throws: ``Failure`` where it does not come up.
  func start(idle: Duration) async throws {
    if try await isRunning() { return }
    guard Self.isOnPath("redis-server") else {
      throw Failure(
        .configuration, "the local bus needs redis-server, which is not on the PATH",
        remedy: "install the package redis-server, or give --url")
    }
    var keeper = try LocalBusKeeper.launch(idle: idle)
    let isUp = try await wait {
      let holder = KeeperLock.holder(of: lockPath)
      let isDone = keeper.hasEnded
      // The keeper that we waited for may have been ended meanwhile, so we start another one.
      if holder == nil, isDone { keeper = try LocalBusKeeper.launch(idle: idle) }
      // The present holder may have been told to end, and our keeper may take the lock after it. So
      // this waits until our keeper holds the lock or has ended.
      guard isDone || holder == keeper.id else { return false }
      return try await isRunning()
    }
    guard isUp else {
      throw Failure(
        .configuration, "the local bus did not come up",
        remedy: "see \(directory)/redis.log")
    }
  }

  /// Ends the keeper and with it the server; says whether there was one.
  func stop() async throws -> Bool {
    guard let keeper = KeeperLock.holder(of: lockPath) else { return false }
    kill(keeper, SIGTERM)
    // A keeper that holds the lock after this one belongs to another command.
    let hasEnded = try await wait { KeeperLock.holder(of: lockPath) != keeper }
    guard hasEnded else {
      throw Failure(
        .failed, "the local bus did not end", remedy: "look at the process \(keeper)")
    }
    return true
  }

  private func wait(_ isDone: () async throws -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + Self.patience
    while try await !isDone() {
      guard ContinuousClock.now < deadline else { return false }
      try await Task.sleep(for: .milliseconds(50))
    }
    return true
  }

  private static func isOnPath(_ program: String) -> Bool {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
  }
}
