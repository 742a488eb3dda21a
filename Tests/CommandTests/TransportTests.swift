import Foundation
import TestSupport
import Testing

@Suite("Ways to reach a server")
struct TransportTests {
  /// Announces and stops over the URL, and expects a watcher over it to see both.
  private func expectMainJob(_ words: [String]) async throws {
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
      try await expectMainJob(["--url", "redis://\(login)127.0.0.1:\(server.port ?? 0)"])
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
      try await expectMainJob(["--url", "redis://\(login)127.0.0.1:\(server.port ?? 0)"])
    }
  }

  @Test("a Unix socket with a database")
  func socket() async throws {
    try await RedisServer.with { server in
      try await expectMainJob(["--url", "unix://\(server.socketPath)?db=3"])
      #expect(try await server.cli("-n", "3", "EXISTS", "paasbus:{default}:bus") == "1\n")
    }
  }

  /// An authority and a certificate for localhost, made for this test.
  private static func makeCertificates(_ folder: URL) async throws {
    let script = """
      set -e
      openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority \
        -keyout ca.key -out ca.pem
      openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
      printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > names
      openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
        -extfile names -out server.pem
      """
    let process = try ManagedProcess("/bin/bash", ["-c", "cd \(folder.path) && \(script)"])
    #expect(try await process.exitStatus() == 0, "\(process.errorOutput)")
  }

  @Test("TLS: verified with --tls-ca, unverified with --tls-insecure, refused without either")
  func tls() async throws {
    let port = try RedisServer.freePort()
    let options = [
      "--tls-port", "\(port)", "--tls-cert-file", "FOLDER/server.pem", "--tls-key-file",
      "FOLDER/server.key", "--tls-ca-cert-file", "FOLDER/ca.pem", "--tls-auth-clients", "no",
    ]
    try await RedisServer.with(
      usesTCP: true, options: options, prepare: Self.makeCertificates
    ) { server in
      let authority = server.folder.appending(path: "ca.pem").path
      for host in ["localhost", "127.0.0.1"] {
        try await expectMainJob(["--url", "rediss://\(host):\(port)", "--tls-ca", authority])
        try await server.command("FLUSHALL")
      }
      try await expectMainJob(["--url", "rediss://localhost:\(port)", "--tls-insecure"])
      try await server.command("FLUSHALL")
      try await expectMainJob(["--url", "rediss://localhost:\(port)?tls=insecure"])
      let plainPort = server.port ?? 0
      for (url, status, text) in [
        ("rediss://localhost:\(port)", Int32(78), "--tls-ca"),
        ("rediss://localhost:\(plainPort)", 78, "use redis://"),
        ("redis://localhost:\(port)", 69, "use rediss://"),
      ] {
        for command in ["watch", "list"] {
          let process = try Paasbus.start(command, "--url", url, "--timeout", "2s")
          #expect(try await process.exitStatus() == status, "\(url) \(process.errorOutput)")
          #expect(process.errorOutput.contains(text), "\(url) \(process.errorOutput)")
          #expect(process.errorLines.count == 1)
        }
      }
    }
  }
}
