import Foundation
import TestSupport
import Testing

@Suite("Ways to reach a server")
struct TransportTests {
  /// Announces and stops over the URL, and expects a watcher over it to see both.
  static func expectMainJob(_ words: [String]) async throws {
    let watch = try Paasbus.start(["watch", "--json"] + words)
    try await eventually("it watches: \(watch.errorOutput)") {
      watch.errorOutput.contains("waiting")
    }
    let announce = try Paasbus.start(["announce"] + words)
    _ = try await watch.waitFor("start")
    announce.signal(SIGTERM)
    #expect(try await announce.exitStatus() == 0)
    _ = try await watch.waitFor("stop")
    watch.signal(SIGTERM)
    #expect(try await watch.exitStatus() == 0)
  }

  @Test(
    "TCP without a password, also where the URL has one", arguments: ["", ":pw@", "rediscloud:pw@"])
  func tcp(login: String) async throws {
    try await RedisServer.with(usesTCP: true) { server in
      try await Self.expectMainJob(["--url", "redis://\(login)127.0.0.1:\(server.port ?? 0)"])
    }
  }

  @Test(
    "TCP with a password, dummy user names of providers among them",
    arguments: [
      ":secret@", "secret@", "redistogo:secret@", "rediscloud:secret@", "h:secret@",
      "default:secret@",
    ])
  func password(login: String) async throws {
    try await RedisServer.with(usesTCP: true) { server in
      try await server.command("CONFIG", "SET", "requirepass", "secret")
      try await Self.expectMainJob(["--url", "redis://\(login)127.0.0.1:\(server.port ?? 0)"])
    }
  }

  @Test("a Unix socket with a database")
  func socket() async throws {
    try await RedisServer.with { server in
      try await Self.expectMainJob(["--url", "unix://\(server.socketPath)?db=3"])
      #expect(try await server.cli("-n", "3", "EXISTS", "paasbus:{default}:bus") == "1\n")
    }
  }
}
