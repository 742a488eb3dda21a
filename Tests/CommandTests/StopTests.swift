import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("A clean stop")
struct StopTests {
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

  /// Whether the process no longer dies of SIGTERM, whatever it does with it.
  ///
  /// A thread that waits for a signal does not show it as blocked; the others do.
  private static func handlesTermination(_ process: Int32) throws -> Bool {
    let folder = "/proc/\(process)/task"
    for thread in try FileManager.default.contentsOfDirectory(atPath: folder) {
      let path = "\(folder)/\(thread)/status"
      let status = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
      for line in status.split(separator: "\n")
      where ["SigCgt:", "SigBlk:", "SigIgn:"].contains(where: line.hasPrefix) {
        let mask = UInt64(line.dropFirst(8), radix: 16) ?? 0
        if mask & (1 << UInt64(SIGTERM - 1)) != 0 { return true }
      }
    }
    return false
  }

  @Test(
    "a signal in the very moment in which it no longer kills is not lost",
    arguments: ["announce", "watch"])
  func firstMoment(command: String) async throws {
    try await RedisServer.with { server in
      for _ in 0..<10 {
        let process = try Paasbus.start(command, "--app", "a", on: server)
        let deadline = ContinuousClock.now + .seconds(30)
        while try !Self.handlesTermination(process.processID) {
          try #require(ContinuousClock.now < deadline)
        }
        process.signal(SIGTERM)
        #expect(try await process.exitStatus(within: .seconds(10)) == 0)
      }
    }
  }

  @Test("at any moment of starting, nothing was announced or the stop is on the bus once")
  func whileStarting() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      // Ever a little later, until some of them have been announced before it came.
      var (round, announced) = (0, 0)
      while announced < 10 {
        let announce = try Paasbus.start("announce", "--name", "w\(round)", on: server)
        try await pass(.milliseconds(5 * round))
        announce.signal(SIGTERM)
        if round % 2 == 0 { announce.signal(SIGINT) }
        // Before it listens to signals, they end it as they end any program.
        #expect([0, 130, 143].contains(try await announce.exitStatus()))
        announced = try await bus.history.count / 2
        round += 1
        try #require(round < 1000)
      }
      #expect(try await bus.present.isEmpty)
      let history = try await bus.history
      let starts = history.filter { $0.contains(#""type":"start""#) }
      let stops = history.filter { $0.contains(#""type":"stop""#) }
      #expect(starts.map(Self.id) == stops.map(Self.id))
      #expect(starts.count + stops.count == history.count && starts.count < round)
    }
  }

  private static func id(_ event: String) -> Substring? {
    event.firstRange(of: #""id":""#).map { event[$0.upperBound...].prefix(26) }
  }

  @Test("in the middle of a start that hangs, nothing stays up", arguments: [true, false])
  func whileStartHangs(isThawedInTime: Bool) async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      // Its login is answered, its start is not.
      let gate = try await Proxy(to: server)
      let announce = try Paasbus.start(
        "announce", "--stop-timeout", "2s", "--url", gate.url)
      try await eventually("it is connected") {
        try await server.command("CLIENT", "LIST").string?.contains("name=paasbus:") ?? false
      }
      server.freeze()
      announce.signal(SIGTERM)
      if isThawedInTime {
        try await pass(.milliseconds(500))
        server.thaw()
      }
      let status = try await announce.exitStatus()
      #expect(status == 0 || status == 69 && !isThawedInTime)
      server.thaw()
      try await eventually("nobody is up") { try await bus.present.isEmpty }
      let history = try await bus.history
      #expect(history.count { $0.contains(#""type":"start""#) } <= 1)
      // Where the stop could not be delivered, the lease tells.
      #expect(
        status == 69
          || history.count { $0.contains(#""type":"start""#) }
            == history.count { $0.contains(#""type":"stop""#) }
      )
    }
  }

  @Test("a stop that no answer comes to is said without how long the last attempt had")
  func unanswered() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--stop-timeout", "2s", on: server)
      let wrapped = try await Paasbus.wrap(
        ["sleep", "100"], options: ["--stop-timeout", "2s"], on: server)
      server.freeze()
      for process in [announce, wrapped] { process.signal(SIGTERM) }
      for process in [announce, wrapped] {
        _ = try await process.exitStatus()
        let line = process.errorLines.last ?? ""
        #expect(line.contains("did not answer in time"), "\(line)")
        #expect(!process.errorOutput.contains(" ms"), "\(process.errorOutput)")
      }
      server.thaw()
    }
  }

  @Test("while it connects again, the stop is delivered as soon as Redis is back")
  func whileReconnecting() async throws {
    try await RedisServer.with(options: ["--appendonly", "yes", "--appendfsync", "always"]) {
      server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--stop-timeout", "20s", on: server)
      _ = try await watch.waitFor("start")
      server.kill()
      try await eventually("it noticed") { announce.errorOutput.contains("trying again") }
      for signal in [SIGTERM, SIGTERM, SIGINT] { announce.signal(signal) }
      try await server.start()
      #expect(try await announce.exitStatus() == 0)
      // Signals that wait together come in no certain order.
      let reason = try await watch.waitFor("stop").first?["reason"]
      #expect(reason == .string("SIGTERM") || reason == .string("SIGINT"))
      #expect(watch.lines.count == 2, "\(watch.output)")
    }
  }
}
