import Foundation
import TestSupport
import Testing

@Suite("What stands between us and Redis, or in its place")
struct ProxyTests {
  @Test(
    "a PING that is answered as on any other connection, as by Garnet and Dragonfly, is an answer",
    arguments: [["watch", "--app", "default"], ["subscribe", "instances"]])
  func pong(words: [String]) async throws {
    try await RedisServer.with { server in
      let pong = "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
      let proxy = try await Proxy(to: server, rewriting: (pong, "+PONG\r\n"))
      let reader = try Paasbus.start(words + ["--json", "--url", proxy.url])
      try await Bus(on: server).awaitWatchers(1)
      // It asks after 5 s of silence, and waits for the answer as long.
      try await pass(.seconds(12))
      try await Bus(on: server).publish(1)
      try await eventually("it is told") { reader.output.contains("start") }
      #expect(!reader.errorOutput.contains("trying again"), "\(reader.errorOutput)")
    }
  }

  @Test("no connection is idle for so long that a proxy cuts it, however long the lease")
  func idle() async throws {
    try await RedisServer.with { server in
      let proxy = try await Proxy(to: server, idleLimit: .seconds(20))
      let processes = [
        try Paasbus.start("announce", "--lease", "5m", "--url", proxy.url),
        try Paasbus.start("watch", "--url", proxy.url),
        try Paasbus.start("subscribe", "c", "--url", proxy.url),
        try Paasbus.start("wait", "--count", "5", "--timeout", "1h", "--url", proxy.url),
      ]
      try await Bus(on: server).awaitWatchers(2)
      try await pass(.seconds(24))
      #expect(proxy.cuts == 0)
      for process in processes {
        #expect(!process.errorOutput.contains("trying again"), "\(process.errorOutput)")
      }
    }
  }

  @Test(
    "a server that lacks a command is told so before anything is written",
    arguments: [
      "XADD", "EXPIRE", "HSET", "ZADD", "ZREM", "HDEL", "PUBLISH", "ZSCORE", "ZRANGEBYSCORE",
      "HMGET", "HGET", "TYPE", "TIME",
    ])
  func renamed(command: String) async throws {
    try await RedisServer.with(options: ["--rename-command", command, ""]) { server in
      let listener = try Paasbus.start("subscribe", "instances", on: server)
      try await Bus(on: server).awaitWatchers(1)
      let announce = try Paasbus.start("announce", on: server)
      #expect(try await announce.exitStatus() == 78, "\(announce.errorOutput)")
      #expect(
        announce.errorOutput.contains("the server has no command \(command)"),
        "\(announce.errorOutput)")
      let wrapped = try Paasbus.start("announce", "--", "sh", "-c", "exit 3", on: server)
      #expect(try await wrapped.exitStatus() == 3)
      #expect(wrapped.errorOutput.contains("no command \(command)"), "\(wrapped.errorOutput)")
      #expect(listener.output.isEmpty, "\(listener.output)")
      #expect(try await server.cli("KEYS", "*") == "\n")
      let doctor = try Paasbus.start("doctor", on: server)
      #expect(try await doctor.exitStatus() == 1)
      let line = doctor.lines.first { $0.contains(command) } ?? ""
      #expect(
        line.hasPrefix("fail  commands") && line.contains("rename-command"), "\(doctor.output)")
      #expect(!doctor.output.contains("ACL"), "\(doctor.output)")
    }
  }

  @Test(
    "a server that lacks a command of transactions is told so by what reads, and by the doctor once",
    arguments: ["MULTI", "EXEC"])
  func transactions(command: String) async throws {
    try await RedisServer.with(options: ["--rename-command", command, ""]) { server in
      _ = try await Paasbus.announce(on: server)
      for words in [["watch"], ["list"], ["wait", "--timeout", "9s"]] {
        let reader = try Paasbus.start(words, on: server)
        #expect(try await reader.exitStatus() == 78, "\(words) \(reader.errorOutput)")
        #expect(
          reader.errorOutput.contains("the server has no command \(command)"),
          "\(words) \(reader.errorOutput)")
      }
      let doctor = try Paasbus.start("doctor", on: server)
      #expect(try await doctor.exitStatus() == 1)
      #expect(doctor.output.ranges(of: command).count == 1, "\(doctor.output)")
      #expect(doctor.lines.count { $0.hasPrefix("fail") } == 1, "\(doctor.output)")
      #expect(doctor.lines.contains { $0.hasPrefix("ok    message") }, "\(doctor.output)")
    }
  }

  @Test("a server without DISCARD is not left in the middle of a transaction")
  func discard() async throws {
    try await RedisServer.with(options: ["--rename-command", "DISCARD", ""]) { server in
      let doctor = try Paasbus.start("doctor", on: server)
      #expect(try await doctor.exitStatus() == 0, "\(doctor.output)")
    }
  }

  @Test("INFO that is unknown is not told as refused")
  func info() async throws {
    try await RedisServer.with(options: ["--rename-command", "INFO", ""]) { server in
      let doctor = try Paasbus.start("doctor", on: server)
      #expect(try await doctor.exitStatus() == 0, "\(doctor.output)")
      #expect(doctor.output.contains("does not know INFO"), "\(doctor.output)")
      #expect(!doctor.output.contains("+info"), "\(doctor.output)")
    }
  }

  @Test(
    "whatever command it is at which a server ends the connection, it is among those that are told")
  func closingLate() async throws {
    for (command, words) in [("XREVRANGE", ["watch"]), ("EXEC", ["list"]), ("HGETALL", ["list"])] {
      try await withStrict([command]) { _, url in
        let reader = try Paasbus.start(words + ["--app", "a", "--url", url])
        #expect(try await reader.exitStatus() == 69)
        #expect(reader.errorOutput.contains(command), "\(reader.errorOutput)")
      }
    }
  }

  @Test(
    "the doctor finds the one command at which a server ends the connection",
    arguments: ["XRANGE", "HGETALL", "ZADD", "EVALSHA", "XINFO"])
  func closingAtOne(command: String) async throws {
    try await withStrict([command]) { _, url in
      let doctor = try Paasbus.start("doctor", "--url", url)
      _ = try await doctor.exitStatus()
      let line = doctor.lines.first { $0.contains("  commands  ") } ?? ""
      #expect(line.contains("closes the connection at \(command) ("), "\(doctor.output)")
    }
  }

  @Test("without SCRIPT, or without EVALSHA too, everything works, and doctor says so")
  func withoutScript() async throws {
    for commands in [["SCRIPT"], ["SCRIPT", "EVALSHA"], ["EVAL"], ["CLIENT", "CLUSTER", "INFO"]] {
      let options = commands.flatMap { ["--rename-command", $0, ""] }
      try await RedisServer.with(options: options) { server in
        try await TransportTests.expectMainJob(["--url", server.url])
        let doctor = try Paasbus.start("doctor", on: server)
        #expect(try await doctor.exitStatus() == 0, "\(commands) \(doctor.output)")
      }
    }
  }

  /// A server that ends the connection at commands that it does not know, as twemproxy and others do.
  private func withStrict(
    _ unknown: [String], _ body: (RedisServer, String) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let proxy = try await Proxy(to: server, closingAt: unknown)
      try await body(server, proxy.url)
    }
  }

  @Test("a server that ends the connection at CLIENT and CLUSTER is asked without them")
  func closingAtHelp() async throws {
    try await withStrict(["CLIENT", "CLUSTER"]) { _, url in
      try await TransportTests.expectMainJob(["--url", url])
    }
  }

  @Test("a server that ends the connection at a help is not asked for it again and again")
  func noStorm() async throws {
    try await withStrict(["CLIENT"]) { server, url in
      let announce = try Paasbus.start("announce", "--url", url)
      let watch = try Paasbus.start("watch", "--url", url)
      try await eventually("it watches") { watch.output.contains("web") || !watch.lines.isEmpty }
      try await pass(.seconds(5))
      for process in [announce, watch] {
        #expect(!process.errorOutput.contains("trying again"), "\(process.errorOutput)")
      }
      let text = try await server.command("INFO", "stats").string ?? ""
      let line = text.split(whereSeparator: \.isNewline).first {
        $0.hasPrefix("total_connections_received:")
      }
      let count = line.flatMap { Int($0.split(separator: ":").last ?? "") } ?? .max
      #expect(count < 40)
    }
  }

  @Test("a server that ends the connection again and again is not asked without a pause")
  func backoff() async throws {
    try await withStrict(["XRANGE", "HMGET"]) { server, url in
      let watch = try Paasbus.start("subscribe", "c", "--url", url)
      try await eventually("it listens") { watch.errorOutput.contains("listening") }
      let killer = Task {
        while !Task.isCancelled { try await server.command("CLIENT", "KILL", "TYPE", "pubsub") }
      }
      try await pass(.seconds(4))
      killer.cancel()
      _ = await killer.result
      #expect(watch.errorLines.count < 20, "\(watch.errorLines.count)")
    }
  }

  @Test(
    "a server that ends the connection at what we need is told with the command",
    arguments: ["TIME", "SUBSCRIBE", "PUBLISH", "ZRANGE", "EVALSHA", "MULTI"])
  func closingAtNeed(command: String) async throws {
    try await withStrict(["CLIENT", command]) { _, url in
      let words = [
        "TIME": ["announce", "--lease", "2s", "--", "sleep", "2"], "SUBSCRIBE": ["watch"],
        "PUBLISH": ["publish", "c", "m"], "ZRANGE": ["list"],
        "EVALSHA": ["announce", "--", "true"],
        "MULTI": ["list", "--app", "a"],
      ]
      let options = ["--url", url]
      let all = words[command] ?? []
      let front = Array(all.prefix { $0 != "--" }) + options + Array(all.drop { $0 != "--" })
      let reader = try Paasbus.start(front)
      _ = try await reader.exitStatus()
      #expect(reader.errorOutput.contains("was asked for"), "\(reader.errorOutput)")
      #expect(reader.errorOutput.contains(command), "\(reader.errorOutput)")
      #expect(!reader.errorOutput.contains("rediss://"))
    }
  }

  @Test("a host whose name resolves only later, or no more for a while, is reached once it does")
  func resolution() async throws {
    try await RedisServer.with(usesTCP: true) { server in
      let hosts = server.folder.appending(path: "hosts")
      func name(_ line: String) throws {
        // Written in place: what is mounted is the file, not its name.
        let handle = try FileHandle(forWritingTo: hosts)
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data("127.0.0.1 localhost\n\(line)\n".utf8))
        try handle.close()
      }
      try Data().write(to: hosts)
      try name("")
      let script = """
        mount --bind \(hosts.path) /etc/hosts && exec \(Paasbus.path) announce --lease 2s \
          --url redis://redis.test:\(server.port ?? 0)
        """
      let announce = try ManagedProcess(
        "unshare", ["--mount", "sh", "-c", script], environment: ManagedProcess.bareEnvironment)
      try await eventually("it says so") {
        announce.errorOutput.contains("redis.test does not resolve")
      }
      try name("127.0.0.1 redis.test")
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      try name("")
      try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      try await eventually("it says that it lost the connection") {
        announce.errorLines.count { $0.contains("trying again") } == 2
      }
      try name("127.0.0.1 redis.test")
      try await eventually("it is back") { announce.errorLines.last?.contains("again") == true }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
    }
  }
}
