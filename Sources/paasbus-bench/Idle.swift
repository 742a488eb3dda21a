import Foundation
import TestSupport

/// What a process costs that has nothing to do.
extension Bench {
  func idle() async throws -> [Row] {
    let (port, rpc) = (try RedisServer.freePort(), try RedisServer.freePort())
    let commands: [(String, [String])] = [
      ("announce", [program, "announce", "-q"]),
      ("announce -- sleep", [program, "announce", "-q", "--", "sleep", "1000"]),
      ("watch", [program, "watch"]),
      ("redis-cli subscribe", link.redisCLI("SUBSCRIBE", "x")),
      (
        "serf agent",
        ["serf", "agent", "-bind=127.0.0.1:\(port)", "-rpc-addr=127.0.0.1:\(rpc)"]
      ),
      ("tini", ["tini", "--", "sleep", "1000"]),
    ]
    var rows: [Row] = []
    for (name, words) in commands where words[0] == program || Child.isInstalled(words[0]) {
      let child = try Child(words, environment: environment)
      try await Task.sleep(for: .seconds(6))
      let before = wakeUps(child.id)
      try await Task.sleep(for: .seconds(30))
      let woken = Double(wakeUps(child.id) - before) * 2
      let memory = try self.memory(child.id)
      for (what, value, unit) in [
        ("resident", memory["Rss"] ?? 0, "MB"), ("proportional", memory["Pss"] ?? 0, "MB"),
        ("private", memory["Anonymous"] ?? 0, "MB"),
      ] {
        rows.append(Row(what: "idle `\(name)`: \(what)", own: Samples(unit, [value / 1024])))
      }
      rows.append(
        Row(what: "idle `\(name)`: wake-ups a minute", own: Samples("", [woken])))
      rows.append(
        Row(what: "idle `\(name)`: threads", own: Samples("", [Double(threads(child.id).count)])))
      // Not SIGKILL, at which tini leaves its command behind.
      child.signal(SIGTERM)
      child.end()
    }
    return rows
  }

  private func threads(_ id: pid_t) -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task")) ?? []
  }

  /// How often its threads have gone to sleep by themselves.
  private func wakeUps(_ id: pid_t) -> Int {
    threads(id).reduce(0) { sum, thread in
      let file = "/proc/\(id)/task/\(thread)/status"
      let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
      let line = text.split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches") }
      return sum + (line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? 0)
    }
  }

  /// In kB, by name.
  private func memory(_ id: pid_t) throws -> [String: Double] {
    let text = try String(contentsOfFile: "/proc/\(id)/smaps_rollup", encoding: .utf8)
    var memory: [String: Double] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(whereSeparator: { $0 == ":" || $0.isWhitespace })
      if words.count >= 2 { memory[String(words[0])] = Double(words[1]) }
    }
    return memory
  }
}
