import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("Errors of the server in mid-life")
struct ServerErrorTests {
  struct Fault: Sendable, CustomStringConvertible {
    var description: String
    var begin: [String]
    var end: [String]
    /// What the line about it says.
    var says: String
  }

  private static let faults = [
    Fault(
      description: "OOM", begin: ["CONFIG", "SET", "maxmemory", "1"],
      end: ["CONFIG", "SET", "maxmemory", "0"], says: "OOM"),
    Fault(
      description: "READONLY", begin: ["REPLICAOF", "127.0.0.1", "1"],
      end: ["REPLICAOF", "NO", "ONE"], says: "READONLY"),
    Fault(
      description: "NOPERM", begin: ["ACL", "SETUSER", "default", "-zadd"],
      end: ["ACL", "SETUSER", "default", "+zadd"], says: "zadd"),
    Fault(
      description: "NOREPLICAS", begin: ["CONFIG", "SET", "min-replicas-to-write", "1"],
      end: ["CONFIG", "SET", "min-replicas-to-write", "0"], says: "NOREPLICAS"),
  ]

  @Test(
    "is said in one line when it begins and one when it ends, and nobody is lost", arguments: faults
  )
  func fault(_ fault: Fault) async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      _ = try await server.cli(fault.begin)
      try await eventually("it is said") { announce.errorOutput.contains("trying again") }
      let begun = ContinuousClock.now
      try await eventually("the lease is over") { ContinuousClock.now - begun > .seconds(3) }
      _ = try await server.cli(fault.end)
      try await expectOneLineEachWay(announce)
      #expect(announce.errorLines.at(1)?.contains(fault.says) == true, "\(announce.errorOutput)")
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2, "\(watch.output)")
    }
  }

  @Test("a disk that cannot be written to, which stops all writes")
  func misconfigured() async throws {
    try await RedisServer.with(options: ["--dir", "FOLDER/data"]) { folder in
      try FileManager.default.createDirectory(
        at: folder.appending(path: "data"), withIntermediateDirectories: true)
    } _: { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      try FileManager.default.removeItem(at: server.folder.appending(path: "data"))
      try await server.command("CONFIG", "SET", "save", "3600 1")
      try await server.command("BGSAVE")
      try await eventually("it is said") {
        announce.errorOutput.contains("MISCONF")
      }
      let list = try Paasbus.start("list", on: server)
      #expect(try await list.exitStatus() == 0, "\(list.errorOutput)")
      try await server.cli("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
      try await expectOneLineEachWay(announce)
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2, "\(watch.output)")
    }
  }

  @Test("a replica whose master is gone")
  func masterDown() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      try await server.command("CONFIG", "SET", "replica-serve-stale-data", "no")
      try await server.command("REPLICAOF", "127.0.0.1", "1")
      // A write is refused for what the server is, a read for its master.
      try await eventually("it is said") { announce.errorOutput.contains("READONLY") }
      try await eventually("the watcher says it") { watch.errorOutput.contains("MASTERDOWN") }
      try await server.cli("REPLICAOF", "NO", "ONE")
      try await expectOneLineEachWay(announce)
      try await eventually("the watcher is back") { watch.errorOutput.contains("Redis again") }
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
    }
  }

  @Test(
    "a server that still loads its data is waited for",
    .enabled(if: RedisServer.canLoadSlowly, "it cannot load slowly"))
  func loading() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      try await server.restartLoading(keys: 2000)
      try await expectOneLineEachWay(announce)
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
    }
  }

  /// One line when the trouble begins, behind the first one, and one when it ends.
  private func expectOneLineEachWay(_ announce: ManagedProcess) async throws {
    try await eventually("its end is said") {
      announce.errorOutput.contains("connected to Redis again")
    }
    #expect(announce.errorLines.count == 3, "\(announce.errorOutput)")
  }

  @Test("a script that keeps the server busy is waited out")
  func busy() async throws {
    try await RedisServer.with(options: ["--lua-time-limit", "50"]) { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      let busy = try ManagedProcess(
        "redis-cli", ["-s", server.socketPath, "EVAL", "while true do end", "0"])
      try await eventually("it is said") { announce.errorOutput.contains("BUSY") }
      _ = try await server.cli("SCRIPT", "KILL")
      _ = try await busy.exitStatus()
      try await eventually("its end is said") {
        announce.errorOutput.contains("connected to Redis again")
      }
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.objects(ofType: "lost").isEmpty)
    }
  }

  @Test("the time for which a script kept the server busy counts for nobody's lease")
  func busyForLong() async throws {
    try await RedisServer.with(options: ["--lua-time-limit", "50"]) { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      _ = try await watch.waitFor("start")
      let busy = try ManagedProcess(
        "redis-cli", ["-s", server.socketPath, "EVAL", "while true do end", "0"])
      try await eventually("it is said") { announce.errorOutput.contains("BUSY") }
      try await pass(.seconds(3))
      // It is a little late, once the server goes on.
      announce.signal(SIGSTOP)
      try await server.cli("SCRIPT", "KILL")
      _ = try await busy.exitStatus()
      try await pass(.seconds(1))
      announce.signal(SIGCONT)
      try await pass(.seconds(3))
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.objects(ofType: "lost").isEmpty)
    }
  }

  @Test("scripts that the server forgot are sent again")
  func scriptFlush() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce(on: server)
      try await server.command("SCRIPT", "FLUSH")
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
    }
  }

  @Test("a server without a free connection is waited for")
  func maxClients() async throws {
    try await RedisServer.with { server in
      var holders: [ManagedProcess] = []
      for _ in 0..<3 {
        holders.append(
          try ManagedProcess("redis-cli", ["-s", server.socketPath, "SUBSCRIBE", "x"]))
      }
      for holder in holders {
        try await eventually("it is connected") { holder.output.contains("subscribe") }
      }
      try await server.command("CONFIG", "SET", "maxclients", "3")
      let announce = try Paasbus.start("announce", on: server)
      try await eventually("it says so") {
        announce.errorOutput.contains("max number of clients reached")
      }
      let watch = try Paasbus.start("watch", on: server)
      #expect(try await watch.exitStatus() == 69)
      for holder in holders { holder.signal(SIGTERM) }
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
    }
  }

  @Test("an outage that ends in a refusal is told as one too")
  func refusedAfterOutage() async throws {
    try await RedisServer.with { server in
      try await server.cli("ACL", "SETUSER", "joe", "on", ">one", "~*", "&*", "+@all")
      let url = "unix://joe:one@\(server.socketPath)"
      let processes = try [
        ["announce"], ["announce", "--", "sleep", "100"], ["watch"], ["subscribe", "c"],
      ]
      .map { words in
        try Paasbus.start([words[0], "--url", url] + words.dropFirst())
      }
      for process in processes {
        try await eventually("it is connected: \(process.errorOutput)") {
          ["announced", "watching", "waiting", "listening"].contains {
            process.errorOutput.contains($0)
          }
        }
      }
      try await server.cli("ACL", "SETUSER", "joe", "-@all")
      try await server.cli("CLIENT", "KILL", "USER", "joe")
      for process in processes {
        try await eventually("the refusal is told: \(process.errorOutput)") {
          process.errorOutput.contains("Redis refuses")
        }
        process.signal(SIGTERM)
        _ = try await process.exitStatus()
      }
    }
  }
}
