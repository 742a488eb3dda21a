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

  private func time(_ server: RedisServer) async throws -> Int64 {
    let reply = try await server.command("TIME")
    return (reply.elements.first?.integer ?? 0) * 1000
  }
}

/// A clock that libfaketime moves, for the programs that are given its environment.
private struct MovedClock {
  private static let folder = "/usr/lib/x86_64-linux-gnu"
  private let file: URL

  static func with(_ body: (MovedClock) async throws -> Void) async throws {
    let file = URL(filePath: "/tmp/paasbus-test-clock-\(UUID().uuidString.prefix(12))")
    defer { try? FileManager.default.removeItem(at: file) }
    try await body(MovedClock(file: file))
  }

  var environment: [String: String] {
    // With jemalloc, as redis-server has it, libfaketime calls itself until libc's malloc is first.
    let libraries = ["libc_malloc_debug.so.0", "faketime/libfaketime.so.1"]
    return [
      "LD_PRELOAD": libraries.map { "\(Self.folder)/\($0)" }.joined(separator: " "),
      "FAKETIME_TIMESTAMP_FILE": file.path,
      "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    ]
  }

  func shift(_ shift: String) {
    try? Data("\(shift)\n".utf8).write(to: file, options: .atomic)
  }

  /// Sees to it that the clock of a program is moved indeed.
  func isMoved() async throws {
    shift("+400d")
    defer { shift("+0") }
    let all = ManagedProcess.bareEnvironment.merging(environment) { $1 }
    let date = try ManagedProcess("date", ["+%s"], environment: all)
    _ = try await date.exitStatus()
    let told = Double(date.output.filter(\.isNumber)) ?? 0
    try #require(told - Date().timeIntervalSince1970 > 300 * 86_400)
  }

  /// Takes one shift after the other, and ends with the first.
  func keepMoving(_ shifts: [String], for duration: Duration) async throws {
    let begun = ContinuousClock.now
    var turn = 0
    try await eventually("the clock was moved for long enough") {
      turn += 1
      shift(shifts[turn / 60 % shifts.count])
      return ContinuousClock.now - begun > duration
    }
    shift(shifts[0])
  }
}
