import Foundation
import TestSupport
import Testing

@Suite("Clocks")
struct ClockTests {
  @Test(
    "a clock of ours that is off, jumps or runs backwards changes nothing",
    arguments: [["+1h"], ["-1h"], ["+1h", "-1h", "+30d", "-3s"]])
  func ours(shifts: [String]) async throws {
    try await MovedClock.with { clock in
      try await RedisServer.with { server in
        clock.shift(shifts[0])
        try await clock.isMoved()
        let watch = try Paasbus.start(
          "watch", "--json", on: server, environment: clock.environment)
        try await eventually("it watches") { watch.errorOutput.contains("waiting") }
        let before = try await time(server)
        let announce = try Paasbus.start(
          "announce", "--lease", "2s", on: server, environment: clock.environment)
        let start = try #require(try await watch.waitFor("start").first)
        let after = try await time(server)
        guard case .number(let started)? = start["started"] else { throw POSIXError(.EINVAL) }
        #expect((before...after + 1000).contains(started))
        try await clock.keepMoving(shifts, for: .seconds(5))
        announce.signal(SIGTERM)
        let stop = try #require(try await watch.waitFor("stop").first)
        guard case .number(let stopped)? = stop["at"] else { throw POSIXError(.EINVAL) }
        #expect((5000...60_000).contains(stopped - started))
        #expect(watch.lines.count == 2, "\(watch.output)")
      }
    }
  }

  @Test(
    "a server whose clock is off, jumps or runs backwards loses nobody who lives",
    arguments: [["+1h"], ["-1h"], ["+1h", "+2h", "-1h", "+0"], ["+0", "+3s", "+6s", "+9s"]])
  func servers(shifts: [String]) async throws {
    try await MovedClock.with { clock in
      clock.shift(shifts[0])
      try await clock.isMoved()
      try await RedisServer.with(environment: clock.environment) { server in
        let watch = try await Paasbus.watch(on: server)
        let lives = try await Paasbus.announce("--lease", "2s", "--name", "lives", on: server)
        let dies = try await Paasbus.announce("--lease", "2s", "--name", "dies", on: server)
        _ = try await watch.waitFor("start", count: 2)
        try await clock.keepMoving(shifts, for: .seconds(5))
        dies.signal(SIGKILL)
        let lost = try await watch.waitFor("lost")
        #expect(lost.first?["name"] == .string("dies"))
        lives.signal(SIGTERM)
        _ = try await watch.waitFor("stop")
        #expect(watch.lines.count == 4, "\(watch.output)")
      }
    }
  }

  @Test("an instance that died before the server's clock went back is lost in time")
  func wentBack() async throws {
    try await MovedClock.with { clock in
      clock.shift("+0")
      try await clock.isMoved()
      try await RedisServer.with(environment: clock.environment) { server in
        // Its connection would tell it sooner.
        try await server.command(
          "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-client|list")
        let watch = try Paasbus.start(
          "watch", "--json", environment: ["PAASBUS_URL": "unix://blind:pw@\(server.socketPath)"])
        try await eventually("it watches") { watch.errorOutput.contains("waiting") }
        let lives = try await Paasbus.announce("--lease", "2s", "--name", "lives", on: server)
        let dies = try await Paasbus.announce("--lease", "3s", "--name", "dies", on: server)
        _ = try await watch.waitFor("start", count: 2)
        dies.signal(SIGKILL)
        clock.shift("-1h")
        let lost = try await watch.waitFor("lost")
        #expect(lost.first?["name"] == .string("dies"))
        lives.signal(SIGTERM)
        _ = try await watch.waitFor("stop")
        #expect(watch.lines.count == 4, "\(watch.output)")
      }
    }
  }

  private func time(_ server: RedisServer) async throws -> Int64 {
    let reply = try await server.command("TIME")
    return (reply.elements.first?.integer ?? 0) * 1000
  }
}
