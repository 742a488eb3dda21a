import Foundation
import TestSupport
import Testing

@testable import paasbus

@Suite("Help")
struct HelpTests {
  static let commands = [
    "announce", "watch", "list", "history", "top", "wait", "forget", "publish", "subscribe",
    "doctor", "serve", "version", "local", "local start", "local stop", "local status", "sessions",
    "sessions list", "sessions show", "sessions end", "sessions extend", "sessions open",
  ]

  @Test(
    "each command has a sentence and two examples, which the command takes", arguments: commands)
  func examples(command: String) async throws {
    let help = try Paasbus.start(command.split(separator: " ").map(String.init) + ["--help"])
    #expect(try await help.exitStatus() == 0)
    #expect(help.lines.first?.hasPrefix("OVERVIEW: ") == true && help.errorOutput.isEmpty)
    let examples = help.lines.drop { $0 != "Examples:" }.prefix { !$0.hasPrefix("USAGE:") }
      .filter { $0.contains("paasbus ") }
    #expect(examples.count >= 2, "\(help.output)")
    try await RedisServer.with { server in
      for example in examples {
        // What lasts is ended once it had the time to complain.
        let script = "cd \(server.folder.path); : > picture.png; \(example)"
        let path = URL(filePath: Paasbus.path).deletingLastPathComponent().path
        let environment = [
          "PAASBUS_URL": server.url, "PATH": "\(path):/usr/bin:/bin",
          "XDG_RUNTIME_DIR": server.folder.path, "COOKIE": SessionsTests.cookie,
          "PAASBUS_SESSION_SECRET": "keyboard cat",
        ]
        let process = try ManagedProcess(
          "timeout", ["1", "sh", "-c", script], environment: environment)
        let status = try await process.exitStatus()
        if command.hasPrefix("local") {
          let stop = try ManagedProcess(
            Paasbus.path, ["local", "stop"], environment: environment)
          _ = try await stop.exitStatus()
        }
        // No terminal is not the example's fault.
        let isTop = process.errorOutput.contains("top needs a terminal")
        #expect(status != 64 || isTop, "\(example): \(process.errorOutput)")
      }
    }
  }

  @Test("paasbus alone says what to do first, and which Redis it would use")
  func alone() async throws {
    let alone = try Paasbus.start()
    #expect(try await alone.exitStatus() == 0)
    #expect(alone.output.contains("  paasbus watch\n  paasbus announce --name web.1\n"))
    #expect(alone.output.contains("Redis: none is configured"))
    let url = "redis://redistogo:secret@h:1"
    let configured = try Paasbus.start([], environment: ["REDISTOGO_URL": url])
    #expect(try await configured.exitStatus() == 0)
    #expect(configured.output.contains("Redis: redis://redistogo:***@h:1, from REDISTOGO_URL"))
    let wrong = try Paasbus.start([], environment: ["REDIS_URL": "ftp://x"])
    #expect(try await wrong.exitStatus() == 0 && wrong.output.contains("Redis: "))
  }

  @Test(
    "what is mistyped gets a suggestion",
    arguments: [
      ("wacht", "watch"), ("anounce", "announce"), ("his", "history"), ("lst", "list"),
      ("local stat", "status"), ("watch --jsn", "--json"), ("xyzzy", nil), ("list extra", nil),
      ("anounce --name x", "announce"), ("help wacht", "watch"),
    ])
  func suggestions(words: String, meant: String?) async throws {
    let process = try Paasbus.start(words.split(separator: " ").map(String.init))
    #expect(try await process.exitStatus() == 64)
    #expect(process.errorLines.count == 1)
    let suggestion = meant.map { "did you mean '\($0)'?" } ?? "did you mean"
    #expect(
      process.errorOutput.lowercased().contains(suggestion) == (meant != nil),
      "\(process.errorOutput)")
  }

  @Test(
    "what often goes wrong gets a hint",
    arguments: [
      ("announce ls -l", "put '--' before the command"),
      ("wait --timeout 1m30s", "write it as 500ms, 15s, 2m, 1h or 3d"),
    ])
  func hints(words: String, hint: String) async throws {
    let process = try Paasbus.start(words.split(separator: " ").map(String.init))
    #expect(try await process.exitStatus() == 64)
    #expect(process.errorLines.count == 1 && process.errorOutput.contains(hint))
  }

  @Test("an unknown value is told with those that there are")
  func values() async throws {
    let process = try Paasbus.start("watch", "--only", "strat")
    #expect(try await process.exitStatus() == 64)
    #expect(
      process.errorOutput.contains(
        "one of the following: start, stopping, stop, lost, back, forgotten: see"))
  }

  @Test("distances between words")
  func distances() {
    for (one, other, distance) in [
      ("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("wach", "watch", 1),
      ("stop", "start", 3),
    ] {
      #expect(Suggestion.distance(one, other) == distance)
      #expect(Suggestion.distance(other, one) == distance)
    }
  }
}
