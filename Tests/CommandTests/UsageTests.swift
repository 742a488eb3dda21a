import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("What each instance uses, and how it died")
struct UsageTests {
  private let keys = Keys(app: "default")

  /// A command that takes so much memory and stays.
  private func taking(_ megabytes: Int) -> [String] {
    ["python3", "-c", "import time; x = bytearray(\(megabytes) << 20); time.sleep(1000)"]
  }

  private func usages(_ server: RedisServer) async throws -> [InstanceUsage] {
    try await server.connector.withConnection {
      Array(try await InstanceUsage.read(keys: keys, on: $0).values)
    }
  }

  @Test("a command's memory is shown by list, the panel, top and metrics, and goes when it stops")
  func command() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.wrap(
        taking(80), options: ["--name", "web.1", "--lease", "2s"], on: server)
      try await eventually("it is told") {
        let usage = try await usages(server).first
        return usage?.memory ?? 0 > 80 << 20 && usage?.memory ?? 0 < 130 << 20
          && usage?.processes == 1 && usage?.cpu != nil
      }
      #expect(try await server.command("TTL", keys.usage).integer ?? 0 > 600_000)
      let list = try Paasbus.start("list", "--json", on: server)
      _ = try await list.exitStatus()
      #expect(list.output.contains(#""usage":{"memory":"#), "\(list.output)")
      let panel = try await PanelProcess.start("--instance-metrics", on: server)
      let page = try await panel.ask("/").text
      #expect(page.contains(">Memory</a>") && page.contains(">CPU</a>"))
      #expect(page.contains(/<td>\d+M<\/td><td>\d+%<\/td>/))
      let instances = try await panel.ask("/api/v1/instances").text
      #expect(instances.contains(#""usage":{"memory":"#))
      let id = list.objects.first?["id"]?.text ?? ""
      #expect(try await panel.ask("/instances/\(id)").text.contains("<dt>Memory</dt>"))
      #expect(try await panel.ask("/?order=memory").status == 200)
      let metrics = try await panel.ask("/metrics").text
      #expect(
        metrics.contains(#"paasbus_instance_memory_bytes{app="default",name="web.1",id="\#(id)"}"#))
      try await Terminal.with(
        "\(Paasbus.path) top", columns: 140, environment: ["PAASBUS_URL": server.url]
      ) {
        try await $0.expect("MEM")
        try await $0.press("m")
        try await $0.press("Enter")
        try await $0.expect("memory")
        try await $0.press("q")
      }
      announce.signal(SIGTERM)
      _ = try await announce.exitStatus()
      #expect(try await usages(server).isEmpty)
      let history = try Paasbus.start("history", "--json", on: server)
      _ = try await history.exitStatus()
      #expect(
        history.objects.last?["memory"] != nil && history.objects.last?["reason"]?.text == "SIGTERM"
      )
    }
  }

  @Test("a followed process is measured too; with --no-usage, and alone, nothing is")
  func others() async throws {
    try await RedisServer.with { server in
      let process = try ManagedProcess(
        "sh", ["-c", "trap 'kill $id; exit' TERM; sleep 1030 & id=$!; wait"])
      let follow = try Paasbus.start(
        "announce", "--lease", "2s", "--pid", "\(process.processID)", on: server)
      try await eventually("both are counted") {
        try await usages(server).first?.processes == 2
      }
      follow.signal(SIGKILL)
      try await server.command("DEL", keys.usage)
      for options in [[], ["--no-usage", "--", "sleep", "1032"]] {
        let silent = try Paasbus.start(["announce", "--lease", "2s"] + options, on: server)
        try await eventually("it is announced") { silent.errorOutput.contains("announced ") }
        // Some beats.
        try await pass(.seconds(2))
        #expect(try await usages(server).isEmpty)
        silent.signal(SIGTERM)
        _ = try await silent.exitStatus()
      }
      process.signal(SIGTERM)
      _ = try await process.exitStatus()
    }
  }

  @Test("where it cannot be written the instance is announced all the same")
  func refused() async throws {
    try await RedisServer.with { server in
      try await server.command("SET", keys.usage, "mine")
      let announce = try Paasbus.start(
        ["announce", "--lease", "2s", "--"] + taking(5), on: server)
      try await eventually("it is announced: \(announce.errorOutput)") {
        announce.errorOutput.contains("announced ") || !announce.isRunning
      }
      try await pass(.seconds(3))
      #expect(announce.errorLines.count == 1, "\(announce.errorOutput)")
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 143)
    }
  }

  // MARK: Out of memory

  /// A control group of 64 MB, in which a shell can begin; nil where this machine lets us make none.
  private final class Limited {
    let folder: String

    init?() {
      let text = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
      let paths = text.split(separator: "\n").compactMap {
        line -> (folder: String, limit: String)? in
        let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return nil }
        let path = parts[2] == "/" ? "" : String(parts[2])
        if parts[1] == "memory" { return ("/sys/fs/cgroup/memory\(path)", "memory.limit_in_bytes") }
        return parts[0] == "0" ? ("/sys/fs/cgroup\(path)", "memory.max") : nil
      }
      for (parent, limit) in paths {
        let folder = "\(parent)/paasbus-\(UUID().uuidString.prefix(8))"
        guard mkdir(folder, 0o755) == 0 else { continue }
        let isLimited = FileManager.default.fileExists(atPath: "\(folder)/\(limit)")
        if isLimited,
          (try? "67108864".write(toFile: "\(folder)/\(limit)", atomically: false, encoding: .utf8))
            != nil
        {
          // Without swap what is too much has to go.
          try? "0".write(toFile: "\(folder)/memory.swap.max", atomically: false, encoding: .utf8)
          self.folder = folder
          return
        }
        rmdir(folder)
      }
      return nil
    }

    deinit { rmdir(folder) }

    /// Runs `body` with one; afterwards all that is in it ends.
    static func with(_ body: (Limited) async throws -> Void) async throws {
      let group = try #require(Limited())
      try await body(group)
      try await eventually("it is empty, and gone") {
        let text = try? String(contentsOfFile: "\(group.folder)/cgroup.procs", encoding: .utf8)
        for id in (text ?? "").split(separator: "\n").compactMap({ Int32($0) }) {
          kill(id, SIGKILL)
        }
        return rmdir(group.folder) == 0
      }
    }

    func start(_ words: [String], on server: RedisServer) throws -> ManagedProcess {
      try ManagedProcess(
        "sh", ["-c", #"echo $$ > "$0/cgroup.procs" && exec "$@""#, folder, Paasbus.path] + words,
        environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
    }
  }

  private static let greedy = """
    x = []
    for _ in range(100): x.append(bytearray(4 << 20))
    """

  private static let canLimit = Limited() != nil

  @Test(
    "a command that the kernel kills for lack of memory has stopped for that reason",
    .enabled(if: canLimit, "this machine lets us make no control group with a limit"))
  func outOfMemory() async throws {
    try await RedisServer.with { server in
      try await Limited.with { group in
        let script = "import time; time.sleep(2)\n\(Self.greedy)"
        let announce = try group.start(
          ["announce", "--name", "web.1", "--lease", "2s", "--", "python3", "-c", script],
          on: server)
        #expect(try await announce.exitStatus() == 137)
        let history = try Paasbus.start("history", on: server)
        _ = try await history.exitStatus()
        #expect(
          history.output.contains(/oom SIGKILL exit 137, [\d.]+M of 64M/), "\(history.output)")
        // One that is killed by somebody else there has not.
        let other = try group.start(
          [
            "announce", "--name", "web.2", "--lease", "2s", "--", "sh", "-c", "sleep 1; kill -9 $$",
          ],
          on: server)
        #expect(try await other.exitStatus() == 137)
        let all = try Paasbus.start("history", "--json", "--name", "web.2", on: server)
        _ = try await all.exitStatus()
        #expect(all.objects.last?["reason"]?.text == "signal")
        #expect(all.objects.last?["limit"] == .number(67_108_864))
      }
    }
  }

  @Test(
    "a worker that is killed for lack of memory is counted and told, and its command goes on",
    .enabled(if: canLimit, "this machine lets us make no control group with a limit"))
  func worker() async throws {
    try await RedisServer.with { server in
      try await Limited.with { group in
        let announce = try group.start(
          [
            "announce", "--lease", "2s", "--", "sh", "-c",
            "python3 -c '\(Self.greedy)'; sleep 1000",
          ],
          on: server)
        try await eventually("it is counted") { try await usages(server).first?.oomKills == 1 }
        try await eventually("it is told: \(announce.errorOutput)") {
          announce.errorOutput.contains(
            "out of memory (limit 64M): the kernel has killed 1 process")
        }
        announce.signal(SIGTERM)
        _ = try await announce.exitStatus()
        let history = try Paasbus.start("history", "--json", on: server)
        _ = try await history.exitStatus()
        #expect(history.objects.last?["reason"]?.text == "SIGTERM")
      }
    }
  }

  @Test(
    "a shell that ends since its worker was killed tells that in a remark",
    .enabled(if: canLimit, "this machine lets us make no control group with a limit"))
  func shell() async throws {
    try await RedisServer.with { server in
      try await Limited.with { group in
        let announce = try group.start(
          ["announce", "--lease", "30s", "--", "sh", "-c", "python3 -c '\(Self.greedy)'; exit $?"],
          on: server)
        #expect(try await announce.exitStatus() == 137)
        #expect(announce.errorOutput.contains("out of memory: the kernel has killed 1 process"))
      }
    }
  }

  @Test(
    "where others are in the group too, what is killed there is not told as one's own",
    .enabled(if: canLimit, "this machine lets us make no control group with a limit"))
  func shared() async throws {
    try await RedisServer.with { server in
      try await Limited.with { group in
        let first = try group.start(
          ["announce", "--lease", "2s", "--name", "a", "--"] + taking(5), on: server)
        let second = try group.start(
          ["announce", "--lease", "2s", "--name", "b", "--", "python3", "-c"]
            + ["import time; time.sleep(2)\n\(Self.greedy)"], on: server)
        #expect(try await second.exitStatus() == 137)
        // Some beats.
        try await pass(.seconds(3))
        #expect(try await usages(server).allSatisfy { $0.oomKills == nil })
        first.signal(SIGTERM)
        _ = try await first.exitStatus()
        #expect(!(first.errorOutput + second.errorOutput).contains("out of memory"))
        let history = try Paasbus.start("history", "--json", "--only", "stop", on: server)
        _ = try await history.exitStatus()
        #expect(history.objects.compactMap { $0["reason"]?.text } == ["signal", "SIGTERM"])
      }
    }
  }

  @Test(
    "one that dies with its announcer is lost, and told with what it used last",
    .enabled(if: canLimit, "this machine lets us make no control group with a limit"))
  func lostWithAll() async throws {
    try await RedisServer.with { server in
      try await Limited.with { group in
        let announce = try group.start(
          ["announce", "--lease", "2s", "--"] + taking(30), on: server)
        try await eventually("it is told") {
          try await usages(server).first?.memory ?? 0 > 30 << 20
        }
        let watch = try await Paasbus.watch(on: server)
        let ids = try String(contentsOfFile: "\(group.folder)/cgroup.procs", encoding: .utf8)
        for id in ids.split(separator: "\n").compactMap({ Int32($0) }) { kill(id, SIGKILL) }
        let lost = try #require(try await watch.waitFor("lost").first)
        #expect(lost["memory"] != nil && lost["limit"] == .number(67_108_864))
        let list = try Paasbus.start("list", "--state", "lost", "--json", on: server)
        _ = try await list.exitStatus()
        #expect(list.output.contains(/"usage":{"memory":\d+,"limit":67108864,/), "\(list.output)")
        _ = try await announce.exitStatus()
      }
    }
  }
}
