import Foundation
import TestSupport
import Testing

@Suite("A hundred commands under random faults")
struct WrapSoakTests {
  /// A command that exits with its own status when it is told to end.
  private struct Member {
    let name: String
    let status: Int32
    let process: ManagedProcess
  }

  private static let parts = 4
  private static let partSize = 25

  @Test("no exit status and no stop is lost", arguments: 1...parts)
  func faults(part: Int) async throws {
    try await RedisServer.with { server in
      var random = SeededGenerator(state: UInt64(part))
      let watch = try await Paasbus.watch(on: server)
      var members: [Member] = []
      for number in 0..<Self.partSize {
        members.append(try start("c\(number)", stalled: number % 2 == 0, on: server, &random))
      }
      _ = try await watch.waitFor("start", count: Self.partSize)
      for _ in 0..<60 {
        let member = try #require(members.randomElement(using: &random))
        try await disturb(member, &random)
      }
      for member in members {
        member.process.signal(SIGCONT)
        member.process.signal(SIGTERM)
        if random.chance(oneIn: 3), let announcer = try member.process.announcerID {
          kill(announcer, SIGKILL)
        }
      }
      for member in members {
        #expect(try await member.process.exitStatus() == member.status, "\(member.name)")
      }
      let stops = try await watch.waitFor("stop", count: Self.partSize)
      #expect(stops.count == Self.partSize)
      for member in members {
        let own = stops.filter { $0["name"] == .string(member.name) }
        #expect(own.map { $0["exit"] } == [.number(Int64(member.status))], "\(member.name)")
      }
    }
  }

  private func start(
    _ name: String, stalled: Bool, on server: RedisServer, _ random: inout SeededGenerator
  ) throws -> Member {
    let status = Int32.random(in: 0...100, using: &random)
    let app = "trap 'exit \(status)' TERM; while :; do sleep 0.05; done"
    let words = [
      "announce", "--app", "default", "--name", name, "--stop-timeout", "20s", "--", "sh", "-c",
      app,
    ]
    let process =
      stalled
      ? try Odd.start(Odd.stalled, ["2", Paasbus.path] + words, on: server)
      : try Paasbus.start(words, on: server)
    return Member(name: name, status: status, process: process)
  }

  private func disturb(_ member: Member, _ random: inout SeededGenerator) async throws {
    switch Int.random(in: 0..<4, using: &random) {
    case 0, 1: if let announcer = try member.process.announcerID { kill(announcer, SIGKILL) }
    case 2:
      member.process.signal(SIGTSTP)
      try await pass(random.milliseconds(10...200))
      member.process.signal(SIGCONT)
    default: member.process.signal(random.chance(oneIn: 2) ? SIGWINCH : SIGCONT)
    }
  }
}
