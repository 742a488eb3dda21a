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
      let announcer = announcer(of: child.id)
      let all = [child.id] + [announcer].compactMap(\.self)
      let before = all.map(wakeUps)
      try await Task.sleep(for: .seconds(30))
      let woken = zip(all, before).map { Double(wakeUps($0) - $1) * 2 }
      let memories = try all.map(memory)
      func add(_ what: String, _ unit: String, _ value: Double) {
        rows.append(Row(what: "idle `\(name)`: \(what)", own: Samples(unit, [value])))
      }
      func megabytes(_ key: String) -> Double {
        memories.reduce(0) { $0 + ($1[key] ?? 0) } / 1024
      }
      add("resident", "MB", (memories[0]["Rss"] ?? 0) / 1024)
      add("proportional", "MB", megabytes("Pss"))
      // What a process and its fork share is counted once.
      add("private", "MB", megabytes("Pss_Anon"))
      if announcer != nil {
        add("private, the supervisor alone", "MB", (memories[0]["Private_Dirty"] ?? 0) / 1024)
        add("wake-ups a minute, the supervisor alone", "", woken[0])
      }
      add("wake-ups a minute", "", woken.reduce(0, +))
      add("threads", "", Double(all.reduce(0) { $0 + threads($1).count }))
      // Not SIGKILL, at which tini leaves its command behind.
      child.signal(SIGTERM)
      child.end()
    }
    return rows
  }

  /// The second process of a wrapped command.
  private func announcer(of supervisor: pid_t) -> pid_t? {
    let text = try? String(
      contentsOfFile: "/proc/\(supervisor)/task/\(supervisor)/children", encoding: .utf8)
    let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(supervisor)/exe")
    return text?.split(separator: " ").compactMap { pid_t($0) }.first {
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/exe")) == own
    }
  }

  private func threads(_ id: pid_t) -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task")) ?? []
  }

  /// How often its threads have gone to sleep by themselves.
  func wakeUps(_ id: pid_t) -> Int {
    threads(id).reduce(0) { sum, thread in
      let file = "/proc/\(id)/task/\(thread)/status"
      let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
      let line = text.split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches") }
      return sum + (line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? 0)
    }
  }

  /// In kB, by name.
  func memory(_ id: pid_t) throws -> [String: Double] {
    let text = try String(contentsOfFile: "/proc/\(id)/smaps_rollup", encoding: .utf8)
    var memory: [String: Double] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(whereSeparator: { $0 == ":" || $0.isWhitespace })
      if words.count >= 2 { memory[String(words[0])] = Double(words[1]) }
    }
    return memory
  }
}
