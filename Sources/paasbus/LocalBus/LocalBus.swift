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
/// without persistence. A keeper process owns it; here is what the other processes need.
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
    // Not stat: a link to somebody else's folder is no folder of ours.
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

  /// Starts the server unless it runs; however many do so at once, there is one.
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
      // Somebody may have ended it meanwhile.
      if holder == nil, isDone { keeper = try LocalBusKeeper.launch(idle: idle) }
      // Ours may come late, and find the lock free after the one that we see was told to end.
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
    // Whoever holds the lock next is somebody else's.
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
