import Foundation
import TestSupport
import Testing

@Suite("The status line of watch")
struct StatusLineTests {
  @Test("lines scroll by above it, and it tells who is there and what runs which release")
  func rollOut() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server, rows: 10) { terminal in
        try await terminal.enter("clear; $P watch -q")
        try await terminal.expect(" no instances · waiting for the first instance\n")
        var fleet: [ManagedProcess] = []
        for number in 1...12 {
          let release = number <= 8 ? "v1" : "v2"
          fleet.append(
            try await Paasbus.announce("--name", "w\(number)", "--release", release, on: server))
        }
        try await terminal.expect("\n 12 up · v1 8 → v2 4 · connected · last event ")
        fleet[0].signal(SIGTERM)
        try await terminal.expect("- stop       w1 ")
        try await terminal.expect("\n 11 up · v1 7 → v2 4 · connected · last event ")
        // It is there once, below all lines, each of which has its row.
        let rows = try await terminal.picture.split(separator: "\n")
        #expect(rows.count { $0.contains("connected") } == 1 && rows.count == 10)
        #expect(rows.dropLast().allSatisfy { $0.contains(" w") && !$0.contains("·") }, "\(rows)")
        try await server.cli("CLIENT", "KILL", "TYPE", "normal")
        server.kill()
        try await terminal.expect("connection lost, trying again")
        try await server.start()
        try await terminal.expect("connected")
        for process in fleet { process.signal(SIGKILL) }
      }
    }
  }

  @Test("it survives another size, Ctrl-Z, bg and fg, and leaves no trace")
  func jobControl() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        try await terminal.enter("$P watch -q")
        try await terminal.expect("waiting for the first instance")
        let announce = try await Paasbus.announce("--name", "w1", on: server)
        try await terminal.expect("1 up · connected")
        for (columns, text) in [(30, " 1 up · connected\n"), (100, " 1 up · connected · last")] {
          try await terminal.resize(columns: columns, rows: 24)
          try await terminal.expect("one status line at \(columns)") { screen in
            screen.contains(text) && screen.ranges(of: "connected").count == 1
          }
        }
        #expect(try await terminal.everything.ranges(of: "+ start").count == 1)
        try await terminal.press("C-z")
        try await terminal.expect("Stopped")
        try await terminal.expectUsualMode()
        #expect(try await !terminal.screen.contains("connected"))
        try await terminal.enter("clear; bg")
        let second = try await Paasbus.announce("--name", "w2", on: server)
        try await terminal.expect("+ start      w2")
        #expect(try await !terminal.screen.contains("connected"))
        try await terminal.enter("fg")
        try await terminal.expect("2 up · connected")
        try await terminal.type("unseen")
        second.signal(SIGTERM)
        try await terminal.expect("1 up · connected")
        #expect(try await !terminal.screen.contains("unseen"))
        try await terminal.press("C-c")
        try await terminal.awaitPrompt()
        // What was typed meanwhile, the shell gets; the signal has thrown it away.
        try await terminal.expectUsualMode()
        #expect(try await !terminal.screen.contains("connected"))
        announce.signal(SIGTERM)
      }
    }
  }

  @Test("without a terminal, or on a dumb one, there are plain lines", arguments: ["cat", "dumb"])
  func plain(_ kind: String) async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        let watch = kind == "cat" ? "$P watch -q | cat -v" : "TERM=dumb $P watch -q"
        try await terminal.enter("clear; \(watch)")
        try await Bus(on: server).awaitWatchers(1)
        let announce = try await Paasbus.announce("--name", "w1", on: server)
        try await terminal.expect("+ start      w1")
        announce.signal(SIGTERM)
        try await terminal.expect("- stop       w1")
        let screen = try await terminal.screen
        #expect(!screen.contains("connected") && !screen.contains("^["), "\(screen)")
        try await terminal.press("C-c")
        try await terminal.expectUsualMode()
      }
    }
  }

  @Test("a handler's words and failures stand above it, and how far behind it is, on it")
  func handler() async throws {
    try await RedisServer.with { server in
      try await Shell.with(on: server) { terminal in
        let gate = server.folder.appending(path: "gate").path
        let script =
          "echo got $PAASBUS_EVENT_NAME; while [ ! -e \(gate) ]; do sleep 0.01; done; false"
        try await terminal.enter("clear; $P watch -q --exec '\(script)'")
        try await terminal.expect("waiting for the first instance")
        let fleet = [
          try await Paasbus.announce("--name", "w1", on: server),
          try await Paasbus.announce("--name", "w2", on: server),
        ]
        try await terminal.expect("\ngot w1\n")
        try await terminal.expect("2 up · handler 2 behind · connected")
        try Data().write(to: URL(filePath: gate))
        try await terminal.expect("the handler for start of w2 failed with exit code 1\n")
        try await terminal.expect("2 up · handler failed 2× · connected")
        for process in fleet { process.signal(SIGTERM) }
        try await terminal.expect("no instances · handler failed 4×")
        try await terminal.press("C-c")
        try await terminal.expectUsualMode()
      }
    }
  }
}
