import Foundation
import TestSupport
import Testing

@Suite("wait")
struct WaitTests {
  private func wait(_ words: String..., on server: RedisServer) throws -> ManagedProcess {
    try Paasbus.start(["wait", "--timeout", "60s", "--app", "default"] + words, on: server)
  }

  @Test("a roll-out: at least, exactly, and gone, each as soon as it is so")
  func rollOut() async throws {
    try await RedisServer.with { server in
      var old: [ManagedProcess] = []
      for _ in 0..<2 { old.append(try await Paasbus.announce("--release", "v1", on: server)) }
      let atLeast = try wait("--count", "2", "--release", "v2", "--json", on: server)
      let exactly = try wait("--count", "2", "--release", "v2", "--exactly", on: server)
      let gone = try wait("--gone", "--release", "v1", on: server)
      try await Bus(on: server).awaitWatchers(3)
      _ = try await Paasbus.announce("--release", "v2", on: server)
      #expect(atLeast.isRunning && exactly.isRunning && gone.isRunning)
      let last = try await Paasbus.announce("--release", "v2", on: server)
      #expect(try await atLeast.exitStatus() == 0)
      #expect(atLeast.objects.first?["met"] == .bool(true))
      #expect(atLeast.objects.first?["up"] == .number(2))
      #expect(atLeast.objects.first?["others"] == .number(2))
      #expect(exactly.isRunning && gone.isRunning)
      for process in old { process.signal(SIGTERM) }
      #expect(try await exactly.exitStatus() == 0)
      #expect(try await gone.exitStatus() == 0)
      #expect(atLeast.errorOutput + exactly.errorOutput + gone.errorOutput == "")
      last.signal(SIGTERM)
      let tooMany = try wait("--count", "1", "--exactly", on: server)
      #expect(try await tooMany.exitStatus() == 0)
    }
  }

  @Test("what is so already ends it at once, and where nobody has ever been nobody has to go")
  func already() async throws {
    try await RedisServer.with { server in
      for words in [["--app", "default"], []] {
        let gone = try Paasbus.start(["wait", "--gone", "--timeout", "60s"] + words, on: server)
        #expect(try await gone.exitStatus() == 0, "\(gone.errorOutput)")
      }
      let first = try Paasbus.start("wait", "--timeout", "60s", on: server)
      try await Bus(on: server).awaitWatchers(1)
      let announce = try await Paasbus.announce("--name", "web.1", on: server)
      #expect(try await first.exitStatus() == 0)
      for words in [["--name", "web.*"], ["--exactly"]] {
        let wait = try Paasbus.start(["wait", "--timeout", "60s"] + words, on: server)
        #expect(try await wait.exitStatus() == 0)
      }
      announce.signal(SIGTERM)
    }
  }

  @Test("at the time-out it is 124, and said what there was")
  func timeout() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--release", "v1", on: server)
      let wait = try Paasbus.start(
        "wait", "--count", "3", "--release", "v1", "--timeout", "300ms", "-q", "--json",
        on: server)
      #expect(try await wait.exitStatus() == 124)
      #expect(wait.errorLines.count == 1, "\(wait.errorOutput)")
      #expect(
        wait.errorOutput.contains(
          "timed out after 300ms on the bus default: 1 of 3 v1 up: see 'paasbus list'"))
      #expect(wait.objects.first?["met"] == .bool(false))
      #expect(wait.objects.first?["up"] == .number(1))
      let unreachable = try Paasbus.start(
        "wait", "--timeout", "10s", environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
      #expect(try await unreachable.exitStatus() == 69)
      announce.signal(SIGTERM)
    }
  }

  @Test("an outage is waited through, and who is killed meanwhile counts no more")
  func outage() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      let gone = try wait("--gone", on: server)
      try await Bus(on: server).awaitWatchers(1)
      server.kill()
      announce.signal(SIGKILL)
      try await eventually("it is said") { gone.errorOutput.contains("trying again") }
      try await server.start()
      #expect(try await gone.exitStatus() == 0, "\(gone.errorOutput)")
    }
  }

  @Test("a time-out while Redis is away says so")
  func timeoutInOutage() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce(on: server)
      let wait = try Paasbus.start("wait", "--count", "2", "--timeout", "2s", on: server)
      try await Bus(on: server).awaitWatchers(1)
      server.kill()
      #expect(try await wait.exitStatus() == 124)
      #expect(wait.errorLines.last?.contains("1 of 2 up when Redis was last reachable") == true)
      announce.signal(SIGKILL)
    }
  }

  @Test("a forged event does not count")
  func forged() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce(on: server)
      let wait = try wait("--count", "2", on: server)
      try await Bus(on: server).awaitWatchers(1)
      let event = try #require(try await Bus(on: server).history.first)
      let forged = event.replacing("\"seq\":1", with: "\"seq\":2")
        .replacing("\"id\":\"01", with: "\"id\":\"02")
      try await server.cli("PUBLISH", "instances", forged)
      try await pass(.seconds(1))
      #expect(wait.isRunning)
      let second = try await Paasbus.announce(on: server)
      #expect(try await wait.exitStatus() == 0)
      for process in [announce, second] { process.signal(SIGTERM) }
    }
  }

  @Test("a signal ends it without success")
  func signalled() async throws {
    try await RedisServer.with { server in
      for (signal, status) in [(SIGINT, Int32(130)), (SIGTERM, 143)] {
        let wait = try wait(on: server)
        try await Bus(on: server).awaitWatchers(1)
        wait.signal(signal)
        #expect(try await wait.exitStatus() == status)
        #expect(wait.errorOutput.isEmpty, "\(wait.errorOutput)")
      }
    }
  }

  @Test("bad use is told")
  func badUse() async throws {
    for (words, text) in [
      (["wait"], "--timeout"), (["wait", "--timeout", "soon"], "soon"),
      (["wait", "--timeout", "1s", "--count", "0"], "--gone"),
      (["wait", "--timeout", "1s", "--gone", "--count", "2"], "--gone cannot be used"),
    ] {
      let wait = try Paasbus.start(words)
      #expect(try await wait.exitStatus() == 64)
      #expect(wait.errorLines.count == 1 && wait.errorOutput.contains(text), "\(wait.errorOutput)")
    }
  }
}
