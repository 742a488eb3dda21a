import Foundation
import TestSupport
import Testing

/// A server of somebody else's, which depends on this package as any other does.
@Suite("A server that announces itself by the library")
struct SampleServerTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  private static let scratch = root.appending(path: ".build-sample")

  /// Its program, which `scripts/test` has built; without that it is built in a folder of its own, which takes minutes
  /// the first time.
  private static let program = Task {
    if let built = ProcessInfo.processInfo.environment["PAASBUS_SAMPLE_SERVER"] { return built }
    let sample = root.appending(path: "Tests/SampleServer")
    var environment = ProcessInfo.processInfo.environment
    environment["PAASBUS_URL"] = nil
    let build = try ManagedProcess(
      "swift",
      ["build", "--package-path", sample.path, "--scratch-path", scratch.path],
      environment: environment)
    let status = try await build.exitStatus(within: .seconds(900))
    try #require(status == 0, "\(build.output) \(build.errorOutput)")
    #expect(!build.output.contains("warning:"), "\(build.output)")
    return scratch.appending(path: "debug/SampleServer").path
  }

  private static func start(
    _ mode: String, url: String?, environment: [String: String] = [:]
  ) async throws -> ManagedProcess {
    var variables = ManagedProcess.bareEnvironment.merging(environment) { $1 }
    variables["PAASBUS_APP"] = "shop"
    variables["PAASBUS_URL"] = url
    return try ManagedProcess(try await program.value, [mode], environment: variables)
  }

  private static func watch(_ server: RedisServer) async throws -> ManagedProcess {
    let watch = try Paasbus.start("watch", "--json", "--app", "shop", on: server)
    try await Bus(on: server).awaitWatchers(1)
    return watch
  }

  private func events(_ watch: ManagedProcess) -> [String] {
    watch.lines.compactMap { line in
      guard let type = line.firstMatch(of: #/"type":"(\w+)"/#)?.1 else { return nil }
      let reason = line.firstMatch(of: #/"reason":"(\w+)"/#)?.1
      return reason.map { "\(type) \($0)" } ?? String(type)
    }
  }

  @Test(
    "the others hear that it drains before it is shut down, and that it stopped once it has ended",
    arguments: [SIGTERM, SIGQUIT])
  func around(signal: Int32) async throws {
    _ = try await Self.program.value
    try await RedisServer.with { server in
      let watch = try await Self.watch(server)
      let sample = try await Self.start("around", url: server.url, environment: ["DYNO": "web.1"])
      let start = try await watch.waitFor("start")
      #expect(start.first?["name"] == .string("web.1"))
      #expect(start.first?["platform"] == .string("heroku"))
      sample.signal(signal)
      #expect(try await sample.exitStatus() == 0, "\(sample.errorOutput)")
      _ = try await watch.waitFor("stop")
      #expect(events(watch) == ["start", "stopping shutdown", "stop shutdown"])
      guard signal == SIGTERM else { return }
      #expect(sample.lines == ["serving", "shutting down while it is stopping", "ended"])
    }
  }

  @Test(
    "alone it says that it stopped, at a shutdown and at a cancellation",
    arguments: [SIGTERM, SIGQUIT])
  func alone(signal: Int32) async throws {
    _ = try await Self.program.value
    try await RedisServer.with { server in
      let watch = try await Self.watch(server)
      let sample = try await Self.start("alone", url: server.url)
      _ = try await watch.waitFor("start")
      sample.signal(signal)
      #expect(try await sample.exitStatus() == 0, "\(sample.errorOutput)")
      _ = try await watch.waitFor("stop")
      #expect(events(watch) == ["start", "stop shutdown"])
    }
  }

  @Test("a service inside that fails ends it, and the others hear that it stopped")
  func failing() async throws {
    _ = try await Self.program.value
    try await RedisServer.with { server in
      let watch = try await Self.watch(server)
      let sample = try await Self.start("fail", url: server.url)
      #expect(try await sample.exitStatus() == 0)
      #expect(sample.output.contains("ended by Failure()"), "\(sample.output)")
      _ = try await watch.waitFor("stop")
      #expect(events(watch) == ["start", "stop exit"])
    }
  }

  @Test("an outage of Redis, or none at all, keeps nothing from serving or ending")
  func outage() async throws {
    _ = try await Self.program.value
    try await RedisServer.with { server in
      server.kill()
      for url in [server.url, nil] {
        let sample = try await Self.start("around", url: url)
        try await eventually("it serves") { sample.output.contains("serving") }
        sample.signal(SIGTERM)
        #expect(try await sample.exitStatus(within: .seconds(10)) == 0)
        #expect(sample.lines.last == "ended")
      }
      let late = try await Self.start("around", url: server.url)
      try await eventually("it says so") { late.errorOutput.contains("trying again") }
      try await server.start()
      try await eventually("it is announced") { late.errorOutput.contains("announced") }
      late.signal(SIGTERM)
      #expect(try await late.exitStatus() == 0)
    }
  }

  @Test("the README and the documentation show a program that is compiled")
  func shown() throws {
    let program = try String(
      contentsOf: Self.root.appending(path: "Tests/SampleServer/Sources/Minimal/Minimal.swift"),
      encoding: .utf8)
    for page in ["README.md", "Sources/Presence/Presence.docc/Servers.md"] {
      let text = try String(contentsOf: Self.root.appending(path: page), encoding: .utf8)
      #expect(text.contains("```swift\n\(program)```"), "\(page)")
    }
  }

  @Test("it can watch the others, until it is shut down")
  func watching() async throws {
    _ = try await Self.program.value
    try await RedisServer.with { server in
      let doorkeeper = try await Self.start("watch", url: server.url)
      try await Bus(on: server).awaitWatchers(1)
      let announce = try await Paasbus.announce("--app", "shop", "--name", "web.7", on: server)
      try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
      announce.signal(SIGTERM)
      try await eventually("it has seen both: \(doorkeeper.output)") {
        doorkeeper.lines == ["start web.7", "stop web.7"]
      }
      doorkeeper.signal(SIGTERM)
      #expect(try await doorkeeper.exitStatus() == 0)
    }
  }
}
