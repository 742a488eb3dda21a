import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("High availability")
struct HighAvailabilityTests {
  /// Starts `watch --json` and waits until it watches.
  private func watch(_ words: String..., url: String) async throws -> ManagedProcess {
    let watch = try Paasbus.start(["watch", "--json", "--url", url] + words)
    try await eventually("it watches: \(watch.errorOutput)") {
      watch.errorOutput.contains("watching ") || watch.errorOutput.contains("waiting")
    }
    return watch
  }

  private func announce(_ name: String, url: String) async throws -> ManagedProcess {
    let process = try Paasbus.start(
      "announce", "--name", name, "--lease", "2s", "--url", url, "--stop-timeout", "20s")
    try await eventually("it is announced: \(process.errorOutput)") {
      process.errorOutput.contains("announced ")
    }
    return process
  }

  @Test("Sentinel: the master is found, and its change costs nobody's life")
  func sentinel() async throws {
    try await RedisSentinels.with(password: "pw1", sentinelPassword: "pw2") { group in
      let watch = try await watch("--app", "default", url: group.url)
      var fleet: [ManagedProcess] = []
      for number in 0..<3 { fleet.append(try await announce("w\(number)", url: group.url)) }
      _ = try await watch.waitFor("start", count: 3)
      try await eventually("the replica has it all") {
        try await group.servers[1].cli(
          "-a", "pw1", "HGET", Keys(app: "default").bus, "seq") == "3\n"
      }
      group.servers[0].kill()
      try await eventually("the replica is the master", within: .seconds(60)) {
        try await group.servers[1].cli("-a", "pw1", "ROLE").hasPrefix("master")
      }
      fleet.append(try await announce("late", url: group.url))
      _ = try await watch.waitFor("start", count: 4)
      for process in fleet { process.signal(SIGTERM) }
      for process in fleet { #expect(try await process.exitStatus() == 0) }
      _ = try await watch.waitFor("stop", count: 4)
      #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
      #expect(watch.numbers == Array(1...8))
      for process in fleet + [watch] {
        #expect(!process.errorOutput.contains("pw1") && !process.errorOutput.contains("pw2"))
      }
    }
  }

  @Test("Sentinel: what is wrong is said in one line")
  func sentinelFaults() async throws {
    try await RedisSentinels.with(password: "pw1", sentinelPassword: "pw2") { group in
      for (url, status, text) in [
        (group.url.replacing("/mine", with: "/yours"), Int32(78), "no master named yours"),
        (group.url.replacing("sentinel_password=pw2", with: "sentinel_password=x"), 77, "password"),
        (group.url.replacing(":pw1@", with: ":wrong@"), 77, "password"),
        ("redis+sentinel://127.0.0.1:1/mine", 69, "connection refused"),
      ] {
        let process = try Paasbus.start("list", "--url", url)
        #expect(try await process.exitStatus() == status, "\(process.errorOutput)")
        #expect(process.errorLines.count == 1 && process.errorOutput.contains(text))
      }
    }
  }

  @Test("Sentinel: what the old master alone knew is told as a reset, and the rest shown once")
  func lostWrites() async throws {
    try await RedisSentinels.with(password: "pw1", sentinelPassword: "pw2") { group in
      let (master, replica) = (group.servers[0], group.servers[1])
      func seq(_ server: RedisServer) async throws -> String {
        try await server.cli("-a", "pw1", "HGET", Keys(app: "default").bus, "seq")
      }
      let watch = try await watch("--app", "default", url: group.url)
      let first = try await announce("first", url: group.url)
      try await eventually("the replica has it") { try await seq(replica) == "1\n" }
      // From here on the replica is a good one that hears nothing.
      try await replica.cli("-a", "pw1", "CONFIG", "SET", "masterauth", "wrong")
      try await master.cli("-a", "pw1", "CLIENT", "KILL", "TYPE", "replica")
      try await eventually("the replica is cut off") {
        try await replica.cli("-a", "pw1", "INFO", "replication")
          .contains("master_link_status:down")
      }
      let second = try await announce("second", url: group.url)
      _ = try await watch.waitFor("start", count: 2)
      // Until the watcher has seen that the history holds it.
      try await pass(.seconds(5))
      master.kill()
      let reset = try await watch.waitFor("reset")
      _ = try await watch.waitFor("back")
      for process in [first, second] { process.signal(SIGTERM) }
      for process in [first, second] { #expect(try await process.exitStatus() == 0) }
      _ = try await watch.waitFor("stop", count: 2)
      #expect(reset.count == 1 && watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
      #expect(watch.numbers.first == 1 && watch.numbers.dropFirst(2) == [2, 3, 4])
    }
  }

  @Test("the doctor finds its way through Sentinel and Cluster, and names what is wrong there")
  func doctor() async throws {
    func doctor(_ url: String) async throws -> (status: Int32, output: String) {
      let process = try Paasbus.start("doctor", "--url", url)
      return (try await process.exitStatus(), process.output)
    }
    try await RedisSentinels.with(password: "pw1", sentinelPassword: "pw2") { group in
      let fine = try await doctor(group.url)
      #expect(fine.status == 0 && fine.output.contains("delivered in"), "\(fine.output)")
      for (url, check, text) in [
        (group.url.replacing("/mine", with: "/yours"), "fail", "no master named yours"),
        (group.url.replacing(":pw1@", with: ":wrong@"), "credentials", "password"),
        ("redis+sentinel://127.0.0.1:1/mine", "connection", "connection refused"),
      ] {
        let faulty = try await doctor(url)
        #expect(faulty.status == 1, "\(faulty.output)")
        let line = faulty.output.split(separator: "\n").last ?? ""
        #expect(line.contains(check) && line.contains(text), "\(faulty.output)")
        #expect(!faulty.output.contains("pw2"))
      }
    }
    try await RedisCluster.with { cluster in
      let announce = try await announce("one", url: cluster.url)
      for node in cluster.nodes {
        let fine = try await doctor("redis://127.0.0.1:\(node.port ?? 0)")
        #expect(fine.output.contains("delivered in") && fine.output.contains("1 instance present"))
        #expect(!fine.output.contains("bug"), "\(fine.output)")
        #expect(fine.status == 0, "\(fine.output)")
      }
      announce.signal(SIGTERM)
    }
  }

  @Test("Cluster: every node leads to the one that matters, and its loss costs nobody's life")
  func cluster() async throws {
    try await RedisCluster.with { cluster in
      let keys = Keys(app: "default")
      let urls = cluster.nodes.map { "redis://127.0.0.1:\($0.port ?? 0)" }
      let finder = try await watch(url: urls[5])
      let named = try await watch("--app", "default", url: urls[0])
      var fleet: [ManagedProcess] = []
      for (number, url) in urls.enumerated() {
        fleet.append(try await announce("w\(number)", url: url))
      }
      for watch in [finder, named] { _ = try await watch.waitFor("start", count: 6) }
      let list = try Paasbus.start("list", "--url", urls[3])
      #expect(try await list.exitStatus() == 0 && list.output.contains("6 up"))
      let master = try await cluster.master(of: keys.bus)
      master.kill()
      let rest = RedisCluster(nodes: cluster.nodes.filter { $0 !== master })
      try await rest.awaitHealth()
      // The address of the node that is gone leads nowhere; the others lead to its replica.
      fleet.append(
        try await announce("late", url: "redis://127.0.0.1:\(rest.nodes[0].port ?? 0)"))
      for process in fleet { process.signal(SIGTERM) }
      for process in fleet {
        #expect(try await process.exitStatus() == 0, "\(process.errorOutput)")
      }
      for watch in [finder, named] {
        _ = try await watch.waitFor("stop", count: 7)
        #expect(watch.objects(ofType: "lost").isEmpty, "\(watch.output)")
      }
    }
  }

  @Test("Cluster: a slot that moves is followed, also while it is on its way")
  func movingSlot() async throws {
    try await RedisCluster.with { cluster in
      let keys = Keys(app: "default")
      let watch = try await watch("--app", "default", url: cluster.url)
      let one = try await announce("one", url: cluster.url)
      _ = try await watch.waitFor("start")
      let source = try await cluster.master(of: keys.bus)
      var others: [RedisServer] = []
      for node in cluster.nodes where node !== source {
        if try await node.cli("ROLE").hasPrefix("master") { others.append(node) }
      }
      let target = try #require(others.first)
      let slot = try await source.cli("CLUSTER", "KEYSLOT", keys.bus).filter(\.isNumber)
      let (from, to) = (
        try await source.cli("CLUSTER", "MYID").filter { !$0.isNewline },
        try await target.cli("CLUSTER", "MYID").filter { !$0.isNewline }
      )
      try await target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", from)
      try await source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", to)
      let present = try await source.cli("CLUSTER", "GETKEYSINSLOT", slot, "100")
        .split(separator: "\n").map(String.init)
      let moved = try await source.cli(
        ["MIGRATE", "127.0.0.1", "\(target.port ?? 0)", "", "0", "5000", "KEYS"] + present)
      #expect(moved.hasPrefix("OK"), "\(moved)")
      // The keys are there, the slot is not yet: only who says so is answered. Leases are renewed
      // that way, while scripts, some of whose keys do not exist, are told to try again.
      try await pass(.seconds(4))
      let two = try Paasbus.start("announce", "--name", "two", "--url", cluster.url)
      try await eventually("it is told to wait") { two.errorOutput.contains("TRYAGAIN") }
      for node in cluster.nodes {
        try await node.cli("CLUSTER", "SETSLOT", slot, "NODE", to)
      }
      _ = try await watch.waitFor("start", count: 2)
      let three = try await announce("three", url: cluster.url)
      _ = try await watch.waitFor("start", count: 3)
      for process in [one, two, three] { process.signal(SIGTERM) }
      for process in [one, two, three] { #expect(try await process.exitStatus() == 0) }
      _ = try await watch.waitFor("stop", count: 3)
      #expect(watch.numbers == Array(1...6), "\(watch.output)")
      #expect(watch.objects(ofType: "lost").isEmpty)
    }
  }
}
