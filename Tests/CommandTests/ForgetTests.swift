import Foundation
import TestSupport
import Testing

@Suite("forget")
struct ForgetTests {
  @Test("one that is lost is forgotten, and watchers are told")
  func one() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--name", "web.1", "--lease", "2s", on: server)
      announce.signal(SIGKILL)
      let lost = try await watch.waitFor("lost").first
      let id = try #require(lost?["id"]?.text)
      let byName = try Paasbus.start("forget", "web.1", "--yes", on: server)
      #expect(try await byName.exitStatus() == 1)
      #expect(byName.errorOutput.contains("the ID of web.1 is \(id)"))
      let unasked = try Paasbus.start("forget", id, on: server)
      #expect(try await unasked.exitStatus() == 64 && unasked.errorOutput.contains("give --yes"))
      let forget = try Paasbus.start("forget", id, "--yes", on: server)
      #expect(try await forget.exitStatus() == 0, "\(forget.errorOutput)")
      #expect(forget.output == "forgot web.1 (\(id)), which was lost\n")
      #expect(try await watch.waitFor("forgotten").first?["id"] == .string(id))
      let again = try Paasbus.start("forget", id, "--yes", on: server)
      #expect(try await again.exitStatus() == 1 && again.errorLines.count == 2)
      let list = try Paasbus.start("list", "--state", "lost", on: server)
      #expect(try await list.exitStatus() == 0 && list.output == "no instances match\n")
    }
  }

  @Test("one that lives announces itself again")
  func living() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      let start = try await watch.waitFor("start").first
      let id = try #require(start?["id"]?.text)
      let forget = try Paasbus.start("forget", id, "--yes", "--json", on: server)
      #expect(try await forget.exitStatus() == 0)
      #expect(forget.objects.first?["state"] == .string("up"))
      _ = try await watch.waitFor("forgotten")
      _ = try await watch.waitFor("back")
      announce.signal(SIGTERM)
      _ = try await watch.waitFor("stop")
      #expect(watch.numbers == [1, 2, 3, 4])
    }
  }

  @Test("the whole bus is removed, and nothing is left of it")
  func all() async throws {
    try await RedisServer.with { server in
      for app in ["one", "two"] {
        let announce = try await Paasbus.announce("--app", app, on: server)
        announce.signal(SIGTERM)
        _ = try await announce.exitStatus()
      }
      let forget = try Paasbus.start("forget", "--all", "--app", "one", "--yes", on: server)
      #expect(try await forget.exitStatus() == 0, "\(forget.errorOutput)")
      #expect(forget.output == "removed the bus one: 0 instances present, 1 ended, 2 events\n")
      #expect(try await server.cli("KEYS", "paasbus:{one}:*") == "\n")
      let history = try Paasbus.start("history", on: server)
      #expect(try await history.exitStatus() == 0 && history.lines.count == 2)
    }
  }

  @Test("on a terminal it asks, and only yes is yes")
  func asks() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce(on: server)
      for (answer, text) in [("n", "nothing was removed"), ("yes", "removed the bus default")] {
        let shell = "sh -c '\(Paasbus.path) forget --all; exec sleep 5000'"
        try await Terminal.with(shell, environment: ["PAASBUS_URL": server.url]) { terminal in
          try await terminal.expect("[y/N]")
          try await terminal.expect("Remove the whole bus default (1 instance present")
          try await terminal.enter(answer)
          try await terminal.expect(text)
        }
      }
      announce.signal(SIGTERM)
    }
  }
}
