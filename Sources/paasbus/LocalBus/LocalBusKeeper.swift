import CSupervisor
import Dispatch
import Redis
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Owns the local bus' server: starts it, starts it anew when it dies, and ends it some time after
/// its last client.
///
/// Runs on the main thread, since the system kills the server when the thread that started it
/// ends: so a keeper that is killed leaves no server behind.
struct LocalBusKeeper {
  /// More often than this, a server that dies is not started anew.
  private static let mostRestarts = 100
  private static let inspectionInterval = Duration.seconds(2)

  let bus: LocalBus
  let idle: Duration

  // MARK: In the command that needs the bus

  /// Starts a keeper, which outlives us.
  ///
  /// - Throws: ``Failure``.
  static func launch(idle: Duration) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for descriptor: CInt in 0...2 {
      posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
    }
    let words = ["paasbus", "local", "keep", "--idle", "\(max(1, idle.components.seconds))s"]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child = pid_t()
    let failure = posix_spawn(&child, "/proc/self/exe", &actions, nil, &arguments, environ)
    guard failure == 0 else {
      throw Failure(
        .configuration, "cannot start the local bus (\(String(cString: strerror(failure))))",
        remedy: "give --url, or start a redis-server yourself")
    }
  }

  // MARK: In the keeper

  /// Keeps the server until nobody has used it for `idle`, or until SIGTERM.
  func run() throws {
    detach()
    // Whoever comes second has nothing to do.
    guard KeeperLock.take(bus.lockPath) else { return }
    let ending = Ending()
    let termination = ending.onSignal()
    defer { termination.cancel() }
    let inspection = Task { await inspect(ending) }
    defer { inspection.cancel() }
    for _ in 0..<Self.mostRestarts {
      guard let server = ending.start(spawn) else { break }
      var status: CInt = 0
      while waitpid(server, &status, 0) == -1 && errno == EINTR {}
    }
    unlink(bus.socketPath)
  }

  /// Leaves the session and the descriptors of whoever started us: what ends that terminal is not
  /// meant for us, and whoever waits for the end of a pipe must not wait for ours.
  private func detach() {
    setsid()
    for descriptor in 3..<CInt(min(65_536, max(3, sysconf(CInt(_SC_OPEN_MAX))))) {
      close(descriptor)
    }
  }

  private func spawn() -> pid_t? {
    let words = [
      "redis-server", "--port", "0", "--unixsocket", bus.socketPath, "--unixsocketperm", "700",
      "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", bus.directory,
      "--logfile", bus.directory + "/redis.log",
    ]
    let copies = words.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    let arguments = copies.map { UnsafePointer($0) } + [nil]
    let child = arguments.withUnsafeBufferPointer { csupervisor_spawn($0.baseAddress) }
    return child > 0 ? child : nil
  }

  /// Ends the server once nobody else has been connected for `idle`.
  private func inspect(_ ending: Ending) async {
    var lastUse = ContinuousClock.now
    let connector = RedisConnector(endpoint: bus.endpoint, timeout: .seconds(2))
    while !Task.isCancelled, ContinuousClock.now - lastUse < idle {
      let others = try? await connector.withConnection { connection in
        try await Self.otherClients(on: connection)
      }
      if others != 0 { lastUse = .now }
      try? await Task.sleep(for: min(Self.inspectionInterval, idle))
    }
    ending.end()
  }

  private static func otherClients(on connection: RedisConnection) async throws -> Int {
    let text = try await connection.send(RedisCommand("INFO", "clients")).string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("connected_clients:") }
    return (line?.split(separator: ":").last.flatMap { Int($0) } ?? 2) - 1
  }
}

/// Whether the keeper is to end, and the server that has to end with it.
private final class Ending: Sendable {
  private struct State {
    var isOver = false
    var server: pid_t?
  }

  private let state = Mutex(State())

  /// Starts a server; nil when it is over, or the server cannot be started.
  func start(_ spawn: () -> pid_t?) -> pid_t? {
    state.withLock { state in
      guard !state.isOver else { return nil }
      state.server = spawn()
      return state.server
    }
  }

  func end() {
    state.withLock { state in
      state.isOver = true
      if let server = state.server { kill(server, SIGKILL) }
    }
  }

  func onSignal() -> any DispatchSourceSignal {
    signal(SIGTERM, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: SIGTERM, queue: .global())
    source.setEventHandler { self.end() }
    source.resume()
    return source
  }
}
