import Foundation
import TestSupport
import Testing

@Suite("announce in front of a command, while Redis does what it does")
struct WrapOutageTests {
  /// Runs a command that says when it has started, and ends at once.
  private func run(
    _ environment: [String: String], options: [String] = [], script: String = "echo here; exit 4"
  ) async throws -> (process: ManagedProcess, took: Duration) {
    let begun = ContinuousClock.now
    let process = try Paasbus.start(
      ["announce"] + options + ["--", "sh", "-c", script], environment: environment)
    #expect(try await process.exitStatus() == 4)
    #expect(process.output == "here\n")
    return (process, ContinuousClock.now - begun)
  }

  @Test(
    "a fault of configuration is one line, and the command runs",
    arguments: [
      (["PAASBUS_URL": "redis://127.0.0.1:70000"], "port"),
      (["REDIS_URL": "nonsense"], "no scheme"), (["DYNO": "web.1"], "no Redis is configured"),
      (["PAASBUS_URL": "redis://127.0.0.1:1", "PAASBUS_TLS_CA": "/none"], "connection refused"),
      (
        ["PAASBUS_URL": "rediss://127.0.0.1:1", "PAASBUS_TLS_CA": "/none"], "no such file"
      ),
    ])
  func misconfigured(environment: [String: String], says text: String) async throws {
    let (process, _) = try await run(environment)
    #expect(process.errorLines.count == 1 && process.errorOutput.contains(text))
  }

  @Test(
    "where nothing is configured and no local bus is running, that is one line, and the command runs"
  )
  func nothingConfigured() async throws {
    let folder = "/tmp/paasbus-run-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let (process, _) = try await run(["XDG_RUNTIME_DIR": folder])
    #expect(process.errorLines.count == 1)
    #expect(process.errorOutput.contains("no local bus is running"))
  }

  @Test("a server that hangs delays the end by the time for it, and nothing else")
  func hangs() async throws {
    try await RedisServer.with { server in
      server.freeze()
      defer { server.thaw() }
      let (_, took) = try await run(
        ["PAASBUS_URL": server.url], options: ["--stop-timeout", "1s"])
      #expect(took < .seconds(10))
      let running = try Paasbus.start(
        ["announce", "--stop-timeout", "1s", "--", "sh", "-c", "echo here; exec sleep 100"],
        on: server)
      try await eventually("it runs") { running.output == "here\n" }
      running.signal(SIGTERM)
      #expect(try await running.exitStatus() == 143)
    }
  }

  @Test(
    "a name that does not resolve for a long time delays neither the start nor, for long, the end",
    .enabled(if: InitTests.canBePIDOne, "this machine does not let us make a mount namespace"))
  func slowResolution() async throws {
    let folder = "/tmp/paasbus-test-\(UUID().uuidString.prefix(12))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // A name server that never answers.
    let silent = try ManagedProcess(
      "python3",
      [
        "-c",
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.153', 53)); "
          + "print('here', flush=True)\nwhile True: s.recv(512)",
      ])
    defer { silent.signal(SIGKILL) }
    try await eventually("it listens: \(silent.errorOutput)") { silent.output == "here\n" }
    let settings = "nameserver 127.0.0.153\noptions timeout:30 attempts:5\n"
    try Data(settings.utf8).write(to: URL(filePath: folder + "/resolv.conf"))
    let script = """
      mount --bind \(folder)/resolv.conf /etc/resolv.conf
      exec \(Paasbus.path) announce --stop-timeout 1s -- sh -c "echo here; exit 4"
      """
    let begun = ContinuousClock.now
    let process = try ManagedProcess(
      "unshare", ["--mount", "sh", "-c", script],
      environment: ManagedProcess.bareEnvironment.merging([
        "PAASBUS_URL": "redis://slow.example.test"
      ]) { $1 })
    try await eventually("it has started") { process.output == "here\n" }
    #expect(try await process.exitStatus() == 4)
    // The resolver itself would try for minutes.
    #expect(ContinuousClock.now - begun < .seconds(20))
    let list = try ManagedProcess(
      "unshare",
      [
        "--mount", "sh", "-c",
        """
        mount --bind \(folder)/resolv.conf /etc/resolv.conf
        exec \(Paasbus.path) list --timeout 1s --url redis://slow.example.test
        """,
      ], environment: ManagedProcess.bareEnvironment)
    #expect(try await list.exitStatus() == 69)
    #expect(
      list.errorOutput.contains("slow.example.test does not resolve, since no name server answers"),
      "\(list.errorOutput)")
  }

  @Test("what a refusal keeps from being announced delays nothing, and a server that hangs is said")
  func neverAnnounced() async throws {
    try await RedisServer.with { server in
      try await server.cli(
        "ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+@connection")
      let begun = ContinuousClock.now
      let (refused, _) = try await run(
        ["PAASBUS_URL": "unix://reader:pw@\(server.socketPath)"],
        options: ["--stop-timeout", "1h"])
      #expect(refused.errorLines.count == 1 && refused.errorOutput.contains("refuses"))
      #expect(ContinuousClock.now - begun < .seconds(60))
      server.freeze()
      defer { server.thaw() }
      let (unanswered, _) = try await run(
        ["PAASBUS_URL": server.url], options: ["--stop-timeout", "1s"])
      #expect(unanswered.errorLines.count == 1 && unanswered.errorOutput.contains("in time"))
    }
  }

  @Test("a stop that a server that hangs does not take is said, and on the bus once it goes on")
  func undelivered() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try Paasbus.start(
        ["announce", "--stop-timeout", "1s", "--", "sleep", "1000"], on: server)
      _ = try await watch.waitFor("start")
      server.freeze()
      process.signal(SIGTERM)
      #expect(try await process.exitStatus() == 143)
      #expect(process.errorOutput.contains("could not be delivered"), "\(process.errorOutput)")
      server.thaw()
      _ = try await watch.waitFor("stop")
      #expect(watch.objects(ofType: "stopping").count == 1)
    }
  }

  @Test("a refusal is said once, and it is announced as soon as it may be")
  func refused() async throws {
    try await RedisServer.with { server in
      try await server.command("CONFIG", "SET", "requirepass", "secret")
      let process = try Paasbus.start("announce", "--", "sleep", "100", on: server)
      try await eventually("it is said") { process.errorOutput.contains("password") }
      try await server.cli("-a", "secret", "CONFIG", "SET", "requirepass", "")
      try await eventually("it is announced") { process.errorOutput.contains("announced ") }
      #expect(process.errorLines.count { $0.contains("password") } == 1)
      process.signal(SIGTERM)
      #expect(try await process.exitStatus() == 143)
    }
  }

  @Test("stopping that was asked for during an outage is told when it is over")
  func drainDuringOutage() async throws {
    try await RedisServer.with(options: ["--appendonly", "yes", "--appendfsync", "always"]) {
      server in
      let watch = try await Paasbus.watch(on: server)
      let process = try Paasbus.start(
        [
          "announce", "--", "sh", "-c",
          "trap 'echo TERM' TERM; echo $$; while :; do sleep 0.01; done",
        ], on: server)
      _ = try await watch.waitFor("start")
      server.kill()
      try await eventually("it noticed") { process.errorOutput.contains("trying again") }
      process.signal(SIGTERM)
      try await eventually("it is passed on at once") { process.lines.last == "TERM" }
      try await server.start()
      _ = try await watch.waitFor("stopping")
      kill(try process.wrappedID, SIGKILL)
      #expect(try await process.exitStatus() == 137)
    }
  }
}
