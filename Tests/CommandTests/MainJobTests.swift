import Foundation
import TestSupport
import Testing

@Suite("The main job")
struct MainJobTests {
  @Test("a watcher sees an instance start and, on SIGTERM, stop")
  func startAndStop() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce(
        "--name", "web.1", "--release", "v42", "--meta", "zone=a", on: server)
      let start = try #require(try await watch.waitFor("start").first)
      #expect(start["name"] == .string("web.1"))
      #expect(start["source"] == .string("live"))
      #expect(start["seq"] == .number(1))
      #expect(start["release"] == .string("v42"))
      #expect(start["meta"] == .object(["zone": .string("a")]))
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      let stop = try #require(try await watch.waitFor("stop").first)
      #expect(stop["reason"] == .string("SIGTERM"))
      #expect(stop["seq"] == .number(2))
      #expect(stop["id"] == start["id"])
      #expect(stop["started"] == start["started"])
      watch.signal(SIGTERM)
      #expect(try await watch.exitStatus() == 0)
      #expect(watch.lines.count == 2)
    }
  }

  @Test(
    "the stop tells which signal asked for it",
    arguments: [
      (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP"), (SIGTERM, "SIGTERM"),
    ])
  func reasons(signal: Int32, name: String) async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce("--name", "w", on: server)
      announce.signal(signal)
      #expect(try await announce.exitStatus() == 0)
      let history = try await server.cli("XRANGE", "paasbus:{default}:events", "-", "+")
      #expect(history.contains(#""reason":"\#(name)""#))
    }
  }

  @Test("announcer and watcher outlive a restart of Redis that loses all data")
  func restart() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "w", "--lease", "2s", on: server)
      let start = try #require(try await watch.waitFor("start").first)
      server.kill()
      try await eventually("both say so") {
        watch.errorOutput.contains("trying again") && announce.errorOutput.contains("trying again")
      }
      try await server.start()
      let back = try #require(try await watch.waitFor("back").first)
      #expect(back["started"] == start["started"])
      #expect(watch.objects(ofType: "reset").count == 1)
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      for process in [watch, announce] {
        #expect(process.errorLines.count { $0.contains("trying again") } == 1)
        #expect(process.errorLines.count { $0.contains("connected to Redis again") } == 1)
      }
    }
  }

  @Test("a watcher that waits for the first app outlives a restart too")
  func restartWhileWaiting() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      server.kill()
      try await eventually("it says so") { watch.errorOutput.contains("trying again") }
      try await server.start()
      let announce = try await Paasbus.announce("--name", "w", "--channel", "mine", on: server)
      _ = try await watch.waitFor("start")
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.lines.count == 2)
      #expect(watch.errorLines.count { $0.contains("waiting") } == 1)
    }
  }

  @Test("a watcher that comes later sees who is there, and with --since what was")
  func snapshotAndReplay() async throws {
    try await RedisServer.with { server in
      let gone = try await Paasbus.announce("--name", "gone", on: server)
      gone.signal(SIGTERM)
      _ = try await gone.exitStatus()
      let here = try await Paasbus.announce("--name", "here", on: server)
      let watch = try await Paasbus.watch("--since", "all", on: server)
      try await eventually("it shows all") { watch.lines.count == 4 }
      let seen = watch.objects.map { [$0["source"], $0["type"] ?? $0["state"], $0["name"]] }
      #expect(
        seen == [
          [.string("replay"), .string("start"), .string("gone")],
          [.string("replay"), .string("stop"), .string("gone")],
          [.string("replay"), .string("start"), .string("here")],
          [.string("snapshot"), .string("up"), .string("here")],
        ])
      let bare = try await Paasbus.watch(
        "--no-snapshot", "--only", "stop", "--name", "h*", on: server)
      here.signal(SIGTERM)
      _ = try await bare.waitFor("stop")
      #expect(bare.lines.count == 1)
    }
  }

  @Test("list shows who is there, for people and for programs")
  func list() async throws {
    try await RedisServer.with { server in
      let empty = try Paasbus.start("list", on: server)
      #expect(try await empty.exitStatus() == 0)
      #expect(empty.output == "no instances\n")
      let one = try await Paasbus.announce("--name", "web.1", "--release", "v1", on: server)
      let two = try await Paasbus.announce("--name", "worker.1", on: server)
      two.signal(SIGTERM)
      _ = try await two.exitStatus()
      let table = try Paasbus.start("list", on: server)
      #expect(try await table.exitStatus() == 0)
      #expect(table.lines.count == 3)
      #expect(table.lines.first?.hasPrefix("NAME") == true)
      #expect(table.lines.last == "1 up")
      let stopped = try Paasbus.start("list", "--json", "--state", "stopped", on: server)
      #expect(try await stopped.exitStatus() == 0)
      #expect(stopped.objects.map { $0["name"] } == [.string("worker.1")])
      one.signal(SIGTERM)
    }
  }
}
