import Foundation
import PaasbusRedis

/// A real redis-server in a private folder, for as long as a closure runs.
package final class RedisServer: Sendable {
  /// The server that is tested against: `PAASBUS_TEST_SERVER`, else the one on the PATH.
  static let program =
    ProcessInfo.processInfo.environment["PAASBUS_TEST_SERVER"] ?? "redis-server"

  /// Its version, such as 7.0; 0 where it is not known.
  private static let version: Double = {
    guard let process = try? ManagedProcess(program, ["--version"]), process.hasSucceeded,
      let number = process.output.firstMatch(of: /\ v=(\d+\.\d+)/)?.1
    else { return 0 }
    return Double(number) ?? 0
  }()

  /// Whether it knows the options by which loading takes long.
  package static let canLoadSlowly = version >= 7
  /// Whether it has users, who may hear only some channels.
  package static let hasChannelPermissions = version >= 6.2

  package let folder: URL
  package let port: Int?
  private let arguments: [String]
  private let environment: [String: String]
  private let process: Mutable<ManagedProcess?> = Mutable(nil)

  package var socketPath: String { folder.appending(path: "redis.sock").path }
  package var url: String { "unix://\(socketPath)" }
  package var connector: RedisConnector {
    RedisConnector(endpoint: RedisEndpoint(address: .unixSocket(path: socketPath)))
  }

  private init(folder: URL, port: Int?, options: [String], environment: [String: String]) {
    self.folder = folder
    self.port = port
    self.environment = environment
    arguments =
      [
        "--unixsocket", folder.appending(path: "redis.sock").path, "--dir", folder.path,
        "--bind", "127.0.0.1", "--port", port.map(String.init) ?? "0",
        "--save", "", "--appendonly", "no", "--logfile", folder.appending(path: "log").path,
      ] + options
  }

  /// Runs `body` with a server that answers, and removes everything afterwards.
  ///
  /// - Parameters:
  ///   - usesTCP: listen on a free port of the loopback too.
  ///   - options: more options; `FOLDER` in them stands for the private folder.
  ///   - environment: more variables for the server.
  ///   - prepare: makes files in the private folder before the server starts.
  package static func with(
    usesTCP: Bool = false, options: [String] = [], environment: [String: String] = [:],
    prepare: (URL) async throws -> Void = { _ in },
    _ body: (RedisServer) async throws -> Void
  ) async throws {
    try await Turns.take {
      try await withServer(
        usesTCP: usesTCP, options: options, environment: environment, prepare: prepare, body)
    }
  }

  private static func withServer(
    usesTCP: Bool, options: [String], environment: [String: String],
    prepare: (URL) async throws -> Void, _ body: (RedisServer) async throws -> Void
  ) async throws {
    let folder = URL(filePath: "/tmp/paasbus-test-\(UUID().uuidString.prefix(12))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await prepare(folder)
    let port = usesTCP ? try freePort() : nil
    let filled = options.map { $0.replacing("FOLDER", with: folder.path) }
    let server = RedisServer(
      folder: folder, port: port, options: filled, environment: environment)
    try await server.start()
    defer { server.kill() }
    try await body(server)
  }

  /// Starts it (again), and waits until it answers.
  ///
  /// - Parameter word: wait until its answer to a PING has this word in it, as `NOAUTH` or `LOADING`.
  package func start(moreOptions: [String] = [], until word: String? = nil) async throws {
    process.set(
      try ManagedProcess(
        Self.program, arguments + moreOptions,
        environment: ManagedProcess.bareEnvironment.merging(environment) { $1 }))
    try await eventually("redis-server takes connections") {
      guard let word else { return try await self.command("PING") != .null }
      return try await self.cli("PING").contains(word)
    }
  }

  /// Writes so many small keys.
  package func fill(keys: Int) async throws {
    let script = "for number = 1, \(keys) do redis.call('SET', 'filler' .. number, 'x') end"
    try await command("EVAL", script, "0")
  }

  /// Starts it anew with so many keys to load, slowly; returns while it loads.
  package func restartLoading(keys: Int) async throws {
    try await fill(keys: keys)
    try await command("SAVE")
    kill()
    let options = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]
    try await start(moreOptions: options, until: "LOADING")
  }

  /// Ends it without saving.
  package func kill() {
    process.get()?.signal(SIGKILL)
    process.get()?.waitForEnd()
  }

  package func freeze() { process.get()?.signal(SIGSTOP) }
  package func thaw() { process.get()?.signal(SIGCONT) }

  /// Sends one command on a connection of its own, by redis-cli's socket and not by our own code
  /// paths' state; error replies come back as values.
  @discardableResult
  package func command(_ words: String...) async throws -> RedisValue {
    try await connector.withConnection { connection in
      try await connection.pipeline([RedisCommand(words)]).first ?? .null
    }
  }

  /// What redis-cli prints for a command.
  @discardableResult
  package func cli(_ words: String..., input: [UInt8]? = nil) async throws -> String {
    try await cli(words, input: input)
  }

  @discardableResult
  package func cli(_ words: [String], input: [UInt8]? = nil) async throws -> String {
    let process = try ManagedProcess("redis-cli", ["-s", socketPath] + words, input: input)
    _ = try await process.exitStatus()
    return process.output
  }

  /// Counts through ports so far below those that the system gives out by itself that those of a
  /// cluster's nodes among themselves, which are 10,000 higher, are below them too: so no two tests
  /// get the same, and no connection takes one in between. Processes that are started one after the other begin far
  /// apart.
  private static let nextPort = Mutable(10_000 + Int(getpid()) * 997 % 12_000)

  /// A port of the loopback that nobody listens on.
  package static func freePort() throws -> Int {
    for _ in 0..<1000 {
      var port = 0
      nextPort.update { next in
        (port, next) = (next, next < 21_999 ? next + 1 : 10_000)
      }
      if isFree(port) { return port }
    }
    throw POSIXError(.EADDRINUSE)
  }

  private static func isFree(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
