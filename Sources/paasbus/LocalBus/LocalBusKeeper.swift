import PaasbusRedis
import Supervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Owns the local bus' server: starts it, starts it again when it dies, and ends it some time after
/// its last client.
///
/// It runs on the main thread, since the system kills the server when the thread that started it
/// ends. So a keeper that is killed leaves no server behind.
struct LocalBusKeeper {
  /// The server is started at most this many times.
  private static let maxRestarts = 100
  private static let inspectionInterval = Duration.seconds(2)

  let bus: LocalBus
  let idle: Duration

  // MARK: In the command that needs the bus

  /// Starts a keeper, which goes on after our end.
  ///
  /// - Throws: ``Failure``.
  static func launch(idle: Duration) throws -> HelperProcess {
    let words = ["paasbus", "local", "keep", "--idle", "\(max(1, idle.components.seconds))s"]
    let nowhere = open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { close(nowhere) }
    do {
      // The keeper leaves our session, which the leader of a process group is not allowed to do.
      return try HelperProcess.start(
        "/proc/self/exe", words, streams: .init(input: nowhere, output: nowhere, error: nowhere),
        leadsGroup: false)
    } catch {
      throw Failure(
        .configuration, "cannot start the local bus (\(error.description))",
        remedy: "give --url, or start a redis-server yourself")
    }
  }

  // MARK: In the keeper

  /// Keeps the server until it has had no client for `idle`, or until SIGTERM.
  func run() throws {
    detach()
    let signals = SignalQueue.block([SIGTERM, SIGCHLD])
    // If another keeper holds the lock, this one has nothing to do.
    guard KeeperLock.acquire(bus.lockPath) else { return }
    let inspection = Task {
      await waitUntilIdle()
      kill(getpid(), SIGTERM)
    }
    defer { inspection.cancel() }
    keepServer(signals)
    unlink(bus.socketPath)
  }

  private func keepServer(_ signals: SignalQueue) {
    for _ in 0..<Self.maxRestarts {
      let server = spawn()
      guard server > 0 else { return }
      while waitpid(server, nil, WNOHANG) != server {
        guard signals.next().number == SIGTERM else { continue }
        kill(server, SIGKILL)
        waitpid(server, nil, 0)
        return
      }
    }
  }

  /// Leaves the session, and closes the descriptors, of the process that started us. Signals of its
  /// terminal are not meant for us, and a process that waits for the end of a pipe must not have to
  /// wait for our end.
  private func detach() {
    setsid()
    for descriptor in 3..<CInt(min(65_536, max(3, sysconf(CInt(_SC_OPEN_MAX))))) {
      close(descriptor)
    }
  }

  private func spawn() -> pid_t {
    ChildProgram([
      "redis-server", "--port", "0", "--unixsocket", bus.socketPath, "--unixsocketperm", "700",
      "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", bus.directory,
      "--logfile", bus.directory + "/redis.log",
    ]).spawn(deathSignal: SIGKILL)?.id ?? -1
  }

  /// Returns once no other client has been connected for `idle`.
  private func waitUntilIdle() async {
    var lastUse = ContinuousClock.now
    let connector = RedisConnector(endpoint: bus.endpoint, timeout: .seconds(2))
    while !Task.isCancelled, ContinuousClock.now - lastUse < idle {
      let others = try? await connector.withConnection { connection in
        try await Self.otherClients(on: connection)
      }
      if others != 0 { lastUse = .now }
      try? await Task.sleep(for: min(Self.inspectionInterval, idle))
    }
  }

  private static func otherClients(on connection: RedisConnection) async throws -> Int {
    let text = try await connection.send(RedisCommand("INFO", "clients")).string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("connected_clients:") }
    return (line?.split(separator: ":").last.flatMap { Int($0) } ?? 2) - 1
  }
}
