import Foundation
import TestSupport
import Testing

@Suite("top")
struct TopTests {
  /// Runs `body` with top in a shell's terminal, and expects that nothing of it is left behind.
  private func withTop(
    on server: RedisServer, rows: Int = 10, _ body: (Terminal) async throws -> Void
  ) async throws {
    try await Shell.with(on: server, rows: rows) { terminal in
      try await terminal.enter("clear; echo before; $P top -q --app default; echo code $?")
      // Before the first contact, whatever goes wrong ends it.
      try await terminal.expect("· connected")
      #expect(try await !terminal.screen.contains("before"))
      try await body(terminal)
      try await terminal.expect("before")
      try await terminal.expectUsualMode()
      #expect(try await !terminal.screen.contains("q quit"))
    }
  }

  @Test("events change it as they come, and q ends it")
  func events() async throws {
    try await RedisServer.with { server in
      try await withTop(on: server) { terminal in
        try await terminal.expect("default: no instances · connected")
        let fleet = [
          try await Paasbus.announce("--name", "w1", "--lease", "2s", on: server),
          try await Paasbus.announce("--name", "w2", on: server),
        ]
        try await terminal.expect("default: 2 up · connected")
        try await terminal.expect("= up ")
        // Longer than the lease: it is renewed, and so it stays up.
        try await pass(.seconds(3))
        try await terminal.expect("both are up") { $0.ranges(of: "= up ").count == 2 }
        fleet[0].signal(SIGKILL)
        try await terminal.expect("! lost ")
        fleet[1].signal(SIGTERM)
        try await terminal.expect("- stopped ")
        try await terminal.expect("default: no instances")
        try await terminal.press("q")
        try await terminal.expect("code 0")
      }
    }
  }

  @Test(
    "whatever ends it, the terminal is as it was",
    arguments: [("C-c", nil, 0), ("", SIGTERM, 0), ("", SIGSEGV, 139)])
  func ends(key: String, signal: Int32?, code: Int32) async throws {
    try await RedisServer.with { server in
      try await withTop(on: server) { terminal in
        if let signal {
          try await server.cli("CLIENT", "LIST")
          let id = try #require(Self.process(on: server))
          kill(id, signal)
        } else {
          try await terminal.press(key)
        }
        try await terminal.expect("code \(code)")
      }
    }
  }

  /// The top that uses a server.
  private static func process(on server: RedisServer) -> pid_t? {
    Processes.ids.first { id in
      let line = try? String(contentsOfFile: "/proc/\(id)/cmdline", encoding: .utf8)
      let variables = try? String(contentsOfFile: "/proc/\(id)/environ", encoding: .utf8)
      return line?.contains("paasbus\0top\0") == true && variables?.contains(server.url) == true
    }
  }

  @Test("a lost connection is told, and it goes on; one that never was ends it")
  func connection() async throws {
    try await RedisServer.with { server in
      try await withTop(on: server) { terminal in
        server.kill()
        try await terminal.expect("connection lost, trying again")
        try await server.start()
        let announce = try await Paasbus.announce("--name", "w1", on: server)
        try await terminal.expect("default: 1 up · connected")
        try await terminal.press("q")
        announce.signal(SIGTERM)
      }
      server.kill()
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$P top -q --app default; echo code $?")
        try await terminal.expect("code 69")
        try await terminal.expectUsualMode()
      }
    }
  }

  @Test("before the server has answered, nothing is said to be so")
  func connecting() async throws {
    try await RedisServer.with { server in
      server.freeze()
      defer { server.thaw() }
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$P top -q --app default")
        try await terminal.expect("q quit")
        let screen = try await terminal.screen
        #expect(screen.contains("connecting"))
        #expect(!screen.contains("no instances"))
        server.thaw()
        try await terminal.expect("default: no instances · connected")
        try await terminal.press("q")
      }
    }
  }

  @Test("Ctrl-Z and fg")
  func jobControl() async throws {
    try await RedisServer.with { server in
      try await withTop(on: server) { terminal in
        try await terminal.press("C-z")
        try await terminal.expect("Stopped")
        try await terminal.expectUsualMode()
        try await terminal.enter("fg")
        try await terminal.expect("default: no instances · connected")
        try await terminal.resize(columns: 120, rows: 12)
        try await terminal.expect("HOST")
        try await terminal.press("q")
      }
    }
  }

  @Test("ten thousand instances are scrolled through, and filtered")
  func many() async throws {
    try await RedisServer.with { server in
      try await Bus(on: server).publish(10_000)
      try await withTop(on: server) { terminal in
        try await terminal.expect("default: 10000 up")
        try await terminal.press("End")
        try await terminal.expect("the last is selected") { screen in
          screen.split(separator: "\n").dropLast().last?.hasPrefix("▸") ?? false
        }
        for _ in 0..<30 { try await terminal.press("PageUp") }
        try await terminal.press("Home")
        try await terminal.expect("the first is selected") { screen in
          screen.split(separator: "\n").dropFirst(2).first?.hasPrefix("▸") ?? false
        }
        try await terminal.type("/nobody")
        try await terminal.expect("none passes") { !$0.contains("= up") }
        try await terminal.press("Escape")
        try await terminal.expect("= up")
        try await terminal.press("q")
      }
    }
  }

  @Test("without a terminal it says what to use instead")
  func noTerminal() async throws {
    let top = try Paasbus.start("top")
    #expect(try await top.exitStatus() == 64)
    #expect(
      top.errorOutput == "paasbus: top needs a terminal: use 'paasbus list' or 'paasbus watch'\n")
  }
}
