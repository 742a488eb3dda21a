import Foundation
import TestSupport
import Testing

@Suite("doctor")
struct DoctorTests {
  /// Runs it and expects a line with this status and check, which says something; returns its output.
  @discardableResult
  private func expect(
    _ status: String, _ check: String, _ text: String, _ words: [String] = [],
    on server: RedisServer? = nil, environment: [String: String] = [:]
  ) async throws -> String {
    let doctor = try Paasbus.start(["doctor"] + words, on: server, environment: environment)
    let code = try await doctor.exitStatus()
    let line = doctor.lines.first {
      $0.hasPrefix(status) && $0.dropFirst(6).hasPrefix(check) && $0.contains(text)
    }
    #expect(line != nil, "\(status) \(check) \(text) in:\n\(doctor.output)\(doctor.errorOutput)")
    #expect(code == (doctor.output.contains("fail  ") ? 1 : 0), "\(doctor.output)")
    return doctor.output
  }

  @Test("where all is well every check is ok, as text and as JSON")
  func healthy() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce(on: server)
      let watch = try await Paasbus.watch(on: server)
      let doctor = try Paasbus.start("doctor", "--json", on: server)
      #expect(try await doctor.exitStatus() == 0)
      let checks = [
        "source", "connection", "credentials", "server", "clients", "memory", "round trip", "clock",
        "permissions", "message", "bus", "subscribers",
      ]
      #expect(doctor.objects.map { $0["check"] } == checks.map { .string($0) })
      #expect(doctor.objects.allSatisfy { $0["status"] == .string("ok") }, "\(doctor.output)")
      // No watcher is bothered by it.
      try await pass(.milliseconds(300))
      #expect(watch.objects(ofType: "message").isEmpty)
      announce.signal(SIGTERM)
    }
  }

  @Test("nothing listening, a name that does not resolve, no socket, a bad URL")
  func unreachable() async throws {
    let port = try RedisServer.freePort()
    try await expect(
      "fail", "connection", "connection refused", ["--url", "redis://127.0.0.1:\(port)"])
    try await expect("fail", "name", "does not resolve", ["--url", "redis://no-such-host.invalid"])
    try await expect("fail", "socket", "no socket at", ["--url", "unix:///nonexistent"])
    try await expect("fail", "source", "no scheme", ["--url", "localhost"])
    try await expect("fail", "source", "no Redis is configured", environment: ["DYNO": "web.1"])
  }

  @Test("a firewall that swallows packets is named as such")
  func swallowed() async throws {
    let port = try RedisServer.freePort()
    // A listener that takes nobody: once its queue is full, the system drops what comes.
    let full = try ManagedProcess(
      "python3",
      [
        "-c",
        """
        import socket, time
        listener = socket.socket(); listener.bind(("127.0.0.1", \(port))); listener.listen(0)
        clients = []
        for _ in range(3):
            client = socket.socket(); client.setblocking(False); clients.append(client)
            try: client.connect(("127.0.0.1", \(port)))
            except BlockingIOError: pass
        print("here", flush=True); time.sleep(1000)
        """,
      ])
    defer { full.signal(SIGKILL) }
    try await eventually("it is full") { full.output.contains("here") }
    try await expect(
      "fail", "connection", "firewall", ["--url", "redis://127.0.0.1:\(port)", "--timeout", "1s"])
  }

  @Test("credentials: a wrong password, a dummy user, a password that nobody asks for")
  func credentials() async throws {
    try await RedisServer.with(usesTCP: true) { server in
      let port = server.port ?? 0
      try await expect(
        "warn", "credentials", "needs none", ["--url", "redis://:x@127.0.0.1:\(port)"])
      try await server.cli("CONFIG", "SET", "requirepass", "secret")
      try await expect(
        "fail", "credentials", "password", ["--url", "redis://:wrong@127.0.0.1:\(port)"])
      try await expect(
        "ok", "credentials", "redistogo is a placeholder",
        ["--url", "redis://redistogo:secret@127.0.0.1:\(port)"])
    }
  }

  @Test("what ails the server is named, and its remedy works")
  func ailments() async throws {
    try await RedisServer.with { server in
      for (begin, status, check, text, remedy) in [
        (
          ["REPLICAOF", "127.0.0.1", "1"], "fail", "server", "a replica of",
          ["REPLICAOF", "NO", "ONE"]
        ),
        (
          ["CONFIG", "SET", "maxmemory", "1"], "fail", "memory", "full",
          ["CONFIG", "SET", "maxmemory", "0"]
        ),
        (["CONFIG", "SET", "maxmemory", "1gb"], "ok", "memory", "noeviction", []),
        (
          ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"], "warn", "memory", "evicted",
          ["CONFIG", "SET", "maxmemory-policy", "noeviction"]
        ),
        (
          ["CONFIG", "SET", "maxclients", "2"], "warn", "clients", "connections in use",
          ["CONFIG", "SET", "maxclients", "1000"]
        ),
        (
          ["ACL", "SETUSER", "default", "-publish"], "fail", "permissions", "+publish",
          ["ACL", "SETUSER", "default", "+publish"]
        ),
      ] {
        try await server.cli(begin)
        try await expect(status, check, text, on: server)
        if !remedy.isEmpty { try await server.cli(remedy) }
        let after = try await expect("ok", "message", "delivered in", on: server)
        #expect(!after.contains("fail  "), "\(after)")
      }
    }
  }

  @Test("a server that has no connection left")
  func noConnection() async throws {
    try await RedisServer.with { server in
      let holder = try ManagedProcess(
        "redis-cli", ["-s", server.socketPath, "SUBSCRIBE", "x"])
      try await eventually("it is connected") { holder.output.contains("subscribe") }
      try await server.command("CONFIG", "SET", "maxclients", "1")
      try await expect("fail", "server", "accepts no more connections", on: server)
      holder.signal(SIGKILL)
      holder.waitForEnd()
      try await eventually("there is room again") {
        try await server.cli("CONFIG", "SET", "maxclients", "100") == "OK\n"
      }
    }
  }

  @Test(
    "a server that still loads", .enabled(if: RedisServer.canLoadSlowly, "it cannot load slowly"))
  func loading() async throws {
    try await RedisServer.with { server in
      try await server.restartLoading(keys: 3000)
      try await expect("fail", "server", "LOADING", on: server)
    }
  }

  @Test("a server without scripts")
  func noScripts() async throws {
    let options = ["EVAL", "EVALSHA", "SCRIPT"].flatMap { ["--rename-command", $0, ""] }
    try await RedisServer.with(options: options) { server in
      try await expect("fail", "scripts", "no scripts", on: server)
    }
  }

  @Test("a clock that is off is harmless, and said")
  func clock() async throws {
    try await RedisServer.with { server in
      let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
      try await expect(
        "warn", "clock", "3600 s ahead", on: server,
        environment: [
          "LD_PRELOAD": library, "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        ])
    }
  }

  @Test(
    "messages that are not delivered: nobody there, another channel, another database, another app")
  func notDelivered() async throws {
    try await RedisServer.with { server in
      try await expect("warn", "bus", "no instance has announced", on: server)
      let announce = try Paasbus.start(
        "announce", "--app", "shop", "--channel", "mine", "--url", server.url + "?db=3")
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      try await expect("fail", "bus", "uses database 3: end the URL with /3", on: server)
      let url = server.url + "?db=3"
      try await expect("fail", "bus", "uses the channel mine", ["--url", url, "--channel", "x"])
      try await expect("warn", "bus", "shop", ["--url", url, "--app", "blog"])
      let listener = try ManagedProcess(
        "redis-cli", ["-s", server.socketPath, "SUBSCRIBE", "instances"])
      try await eventually("it listens") { listener.output.contains("subscribe") }
      try await expect("warn", "subscribers", "but on instances", ["--url", url])
      try await expect("ok", "bus", "1 instance present", ["--url", url])
      announce.signal(SIGTERM)
      listener.signal(SIGKILL)
    }
  }
}
