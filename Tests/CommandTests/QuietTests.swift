import Foundation
import TestSupport
import Testing

@Suite("Quiet when nothing happens")
struct QuietTests {
  private static let time = Duration.seconds(10)

  @Test(
    "a reader that has nothing to do wakes seldom, on few threads, and asks little",
    arguments: [
      ["watch", "--json", "--app", "default"],
      ["wait", "--app", "default", "--count", "9", "--timeout", "5m"],
      [
        "serve", "--app", "default", "--socket", "FOLDER/panel.sock", "--open-metrics",
        "--no-panel",
      ],
    ])
  func idle(words: [String]) async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      try await bus.publish(1)
      let reader = try Paasbus.start(
        words.map { $0.replacing("FOLDER", with: server.folder.path) }, on: server)
      try await bus.awaitWatchers(1)
      // What it asks at its beginning is over.
      try await bus.awaitComparison()
      let before = (wakes: wakeUps(reader), commands: try await commands(server))
      try await pass(Self.time)
      let wakes = wakeUps(reader) - before.wakes
      // Each of our two questions is one command too.
      let commands = try await commands(server) - before.commands
      #expect(wakes <= 60, "300 a minute are 50, and the edges")
      #expect(commands <= 56, "5 a second are 50, and the edges")
      #expect(threads(reader).count <= 3)
      reader.signal(SIGTERM)
      _ = try await reader.exitStatus()
    }
  }

  private func commands(_ server: RedisServer) async throws -> Int {
    let text = try await server.command("INFO", "stats").string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first {
      $0.hasPrefix("total_commands_processed:")
    }
    return try #require(line?.split(separator: ":").last.flatMap { Int($0) })
  }

  private func threads(_ process: ManagedProcess) -> [String] {
    let folder = "/proc/\(process.processID)/task"
    let ids = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return ids.map { "\(folder)/\($0)" }
  }

  /// How often its threads have gone to sleep by themselves (proc(5)).
  private func wakeUps(_ process: ManagedProcess) -> Int {
    threads(process).reduce(0) { sum, thread in
      let text = (try? String(contentsOfFile: "\(thread)/status", encoding: .utf8)) ?? ""
      let line = text.split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches") }
      return sum + (line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? 0)
    }
  }
}
