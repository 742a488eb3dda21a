import Foundation
import TestSupport
import Testing

@Suite("The main job")
struct MainJobTests {
  @Test("a watcher sees an instance start and, on SIGTERM, stop")
  func startAndStop() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce(
        "--name", "web.1", "--release", "v42", "--meta", "zone=a", on: server)
      let start = try #require(try await watch.waitFor("start").first)
      #expect(start["name"] == .string("web.1"))
      #expect(start["source"] == .string("live"))
      #expect(start["seq"] == .number(1))
      #expect(start["release"] == .string("v42"))
      #expect(start["meta"] == .object(["zone": .string("a")]))
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      let stop = try #require(try await watch.waitFor("stop").first)
      #expect(stop["reason"] == .string("SIGTERM"))
      #expect(stop["seq"] == .number(2))
      #expect(stop["id"] == start["id"])
      #expect(stop["started"] == start["started"])
      watch.signal(SIGTERM)
      #expect(try await watch.exitStatus() == 0)
      #expect(watch.lines.count == 2)
    }
  }

  @Test(
    "the stop tells which signal asked for it",
    arguments: [
      (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP"), (SIGTERM, "SIGTERM"),
    ])
  func reasons(signal: Int32, name: String) async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--name", "w", on: server)
      announce.signal(signal)
      #expect(try await announce.exitStatus() == 0)
      let history = try await server.cli("XRANGE", "paasbus:{default}:events", "-", "+")
      #expect(history.contains(#""reason":"\#(name)""#))
    }
  }

  @Test("a killed instance is lost by its connection, and said so once by many watchers")
  func killed() async throws {
    try await RedisServer.with { server in
      var watches: [ManagedProcess] = []
      for _ in 0..<5 { watches.append(try await Paasbus.watch(on: server)) }
      let announce = try await Paasbus.announce("--name", "w", "--lease", "5m", on: server)
      for watch in watches { _ = try await watch.waitFor("start") }
      try await seeTheConnection(of: announce, on: server)
      announce.signal(SIGKILL)
      for watch in watches {
        let lost = try #require(try await watch.waitFor("lost").first)
        #expect(lost["reason"] == .string("connection"))
        #expect(lost["expired"] == nil)
      }
      let other = try await Paasbus.announce("--name", "x", on: server)
      for watch in watches {
        _ = try await watch.waitFor("start", count: 2)
        #expect(watch.objects(ofType: "lost").count == 1)
      }
      other.signal(SIGTERM)
    }
  }

  /// Waits until the watchers have asked for the server's connections twice as often as there can
  /// be watchers, so that each has seen the announcer's.
  private func seeTheConnection(of announce: ManagedProcess, on server: RedisServer) async throws {
    let before = try await lists(server)
    try await eventually("the connection is seen") { try await lists(server) > before + 10 }
  }

  private func lists(_ server: RedisServer) async throws -> Int {
    let text = try await server.command("INFO", "commandstats").string ?? ""
    let start = "cmdstat_client|list:calls="
    let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(start) }
    return line.flatMap { Int($0.dropFirst(start.count).prefix { $0.isNumber }) } ?? 0
  }

  @Test("where the server does not list its clients, a killed instance is lost by its lease")
  func killedUnseen() async throws {
    try await RedisServer.with { server in
      try await server.command(
        "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-client|list")
      let watch = try Paasbus.start(
        "watch", "--json", environment: ["PAASBUS_URL": "unix://blind:pw@\(server.socketPath)"])
      try await eventually("it watches") { watch.errorOutput.contains("waiting") }
      let announce = try await Paasbus.announce("--name", "w", "--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      announce.signal(SIGKILL)
      let lost = try #require(try await watch.waitFor("lost").first)
      #expect(lost["reason"] == .string("lease"))
      #expect(lost["expired"] != nil)
    }
  }

  @Test("an announcer whose connection is killed again and again is never lost")
  func killedConnections() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "w", on: server)
      _ = try await watch.waitFor("start")
      for round in 1...200 {
        try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
        if round % 10 == 0 {
          try await eventually("it is connected") {
            try await server.command("CLIENT", "LIST").string?.contains("name=paasbus:") ?? false
          }
        }
      }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2, "\(watch.output)")
    }
  }

  @Test("a frozen instance is lost and then back, with its old start")
  func frozen() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "w", "--lease", "2s", on: server)
      announce.signal(SIGSTOP)
      #expect(try await watch.waitFor("lost").first?["reason"] == .string("lease"))
      announce.signal(SIGCONT)
      let back = try #require(try await watch.waitFor("back").first)
      #expect(back["started"] == watch.objects(ofType: "start").first?["started"])
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(
        watch.objects.map { $0["type"] } == ["start", "lost", "back", "stop"].map { .string($0) })
    }
  }

  @Test("announcer and watcher outlive a restart of Redis that loses all data")
  func restart() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "w", "--lease", "2s", on: server)
      let start = try #require(try await watch.waitFor("start").first)
      server.kill()
      try await eventually("both say so") {
        watch.errorOutput.contains("trying again") && announce.errorOutput.contains("trying again")
      }
      try await server.start()
      let back = try #require(try await watch.waitFor("back").first)
      #expect(back["started"] == start["started"])
      #expect(watch.objects(ofType: "reset").count == 1)
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      for process in [watch, announce] {
        #expect(process.errorLines.count { $0.contains("trying again") } == 1)
        #expect(process.errorLines.count { $0.contains("connected to Redis again") } == 1)
      }
    }
  }

  @Test("a watcher that waits for the first app outlives a restart too")
  func restartWhileWaiting() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      server.kill()
      try await eventually("it says so") { watch.errorOutput.contains("trying again") }
      try await server.start()
      let announce = try await Paasbus.announce("--name", "w", "--channel", "mine", on: server)
      _ = try await watch.waitFor("start")
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2)
      #expect(watch.errorLines.count { $0.contains("waiting") } == 1)
    }
  }

  @Test("a stop that cannot be delivered ends with 69 within the time for it")
  func undelivered() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--stop-timeout", "500ms", on: server)
      server.kill()
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 69)
      #expect(announce.errorOutput.contains("could not be delivered"))
    }
  }

  @Test("a stop while Redis is frozen is delivered by the lease or at once, never twice")
  func stopWhileFrozen() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--stop-timeout", "20s", on: server)
      _ = try await watch.waitFor("start")
      server.freeze()
      announce.signal(SIGTERM)
      announce.signal(SIGINT)
      server.thaw()
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2)
    }
  }

  @Test("who never reached Redis has nothing to take back")
  func neverAnnounced() async throws {
    let port = try RedisServer.freePort()
    let announce = try Paasbus.start("announce", "--url", "redis://127.0.0.1:\(port)")
    try await eventually("it says so") { announce.errorOutput.contains("trying again") }
    announce.signal(SIGTERM)
    #expect(try await announce.exitStatus() == 0)
  }

  @Test("a signal ends a first contact that hangs, with 0", arguments: ["announce", "watch"])
  func hangingContact(command: String) async throws {
    try await RedisServer.with { server in
      server.freeze()
      defer { server.thaw() }
      let process = try Paasbus.start(command, "--app", "a", "--timeout", "1h", on: server)
      try await eventually("it waits for signals") {
        try Self.handlesTermination(process.processID)
      }
      process.signal(SIGTERM)
      #expect(try await process.exitStatus() == 0)
    }
  }

  /// Whether the process no longer dies of SIGTERM by default.
  private static func handlesTermination(_ process: Int32) throws -> Bool {
    let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("SigCgt:") }
    let mask = line.flatMap { UInt64($0.dropFirst(8), radix: 16) } ?? 0
    return mask & (1 << UInt64(SIGTERM - 1)) != 0
  }

  @Test("a watcher that comes later sees who is there, and with --since what was")
  func snapshotAndReplay() async throws {
    try await RedisServer.with { server in
      let gone = try await Paasbus.announce("--name", "gone", on: server)
      gone.signal(SIGTERM)
      _ = try await gone.exitStatus()
      let here = try await Paasbus.announce("--name", "here", on: server)
      let watch = try await Paasbus.watch("--since", "all", on: server)
      try await eventually("it shows all") { watch.lines.count == 4 }
      let seen = watch.objects.map { [$0["source"], $0["type"] ?? $0["state"], $0["name"]] }
      #expect(
        seen == [
          [.string("replay"), .string("start"), .string("gone")],
          [.string("replay"), .string("stop"), .string("gone")],
          [.string("replay"), .string("start"), .string("here")],
          [.string("snapshot"), .string("up"), .string("here")],
        ])
      let bare = try await Paasbus.watch(
        "--no-snapshot", "--only", "stop", "--name", "h*", on: server)
      here.signal(SIGTERM)
      _ = try await bare.waitFor("stop")
      #expect(bare.lines.count == 1)
    }
  }

  @Test("list shows who is there, for people and for programs")
  func list() async throws {
    try await RedisServer.with { server in
      let empty = try Paasbus.start("list", on: server)
      #expect(try await empty.exitStatus() == 0)
      #expect(empty.output == "nobody is here\n")
      let one = try await Paasbus.announce("--name", "web.1", "--release", "v1", on: server)
      let two = try await Paasbus.announce("--name", "worker.1", on: server)
      two.signal(SIGTERM)
      _ = try await two.exitStatus()
      let table = try Paasbus.start("list", on: server)
      #expect(try await table.exitStatus() == 0)
      #expect(table.lines.count == 3)
      #expect(table.lines.first?.hasPrefix("NAME") == true)
      #expect(table.lines.last == "1 up")
      let stopped = try Paasbus.start("list", "--json", "--state", "stopped", on: server)
      #expect(try await stopped.exitStatus() == 0)
      #expect(stopped.objects.map { $0["name"] } == [.string("worker.1")])
      one.signal(SIGTERM)
    }
  }
}
