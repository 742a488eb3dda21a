import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("A hostile bus")
struct HostileBusTests {
  /// What somebody believes who reads a watcher's output to its end: the events by their numbers.
  private func belief(_ watch: ManagedProcess) -> [Int64: String] {
    var belief: [Int64: String] = [:]
    for line in watch.lines {
      guard let object = try? JSONDecoder().decode([String: JSONValue].self, from: Data(line.utf8)),
        case .number(let seq)? = object["seq"]
      else { continue }
      belief[seq] = object["type"] == .string("retracted") ? nil : line
    }
    return belief
  }

  private func expectTheTruth(_ watch: ManagedProcess, _ bus: Bus) async throws {
    let history = try await bus.history
    try await eventually("it believes what is true: \(watch.errorOutput)", within: .seconds(60)) {
      belief(watch).count == history.count
    }
    let believed = belief(watch)
    for (number, event) in history.enumerated() {
      let shown = believed[Int64(number + 1)]
      #expect(shown?.hasSuffix(event.dropFirst()) == true, "\(shown ?? "nothing") \(event)")
    }
  }

  @Test("a flood of rubbish fills no memory, moves no terminal, and true events come through")
  func rubbish() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      try await bus.publish(3)
      let rubbish: [[UInt8]] = [
        Array(repeating: 0x41, count: 1_000_000), Array(repeating: 0xFF, count: 1_000_000),
        Array(repeating: UInt8(ascii: "["), count: 1_000_000),
        Array(String(repeating: #"{"v":"#, count: 1500).utf8),
        Array("\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}\r\n".utf8), [0xC3, 0x28, 0x00],
      ]
      try await server.connector.withConnection { connection in
        for round in 0..<60 {
          let commands = rubbish.map {
            RedisCommand(arguments: [Array("PUBLISH".utf8), Array("instances".utf8), $0])
          }
          _ = try await connection.pipeline(commands)
          if round % 10 == 0 { try await bus.publish(1) }
        }
      }
      try await bus.publish(3)
      try await expectTheTruth(watch, bus)
      #expect(!watch.output.utf8.contains { $0 < 0x20 && $0 != 0x0A })
      #expect(!watch.output.contains("\u{202e}"))
      #expect(try watch.peakMemory < 150_000)
      watch.signal(SIGTERM)
      #expect(try await watch.exitStatus() == 0)
    }
  }

  /// An event that nobody's script wrote.
  private func lie(
    _ place: Position, app: String = "default", version: Int = 1, number: Int
  ) -> RedisCommand {
    RedisCommand(
      "PUBLISH", "instances",
      #"{"v":\#(version),"type":"stop","epoch":\#(place.epoch),"seq":\#(place.seq),"at":5,"#
        + #""app":"\#(app)","id":"\#(number)","name":"liar","started":1,"lease":15000}"#)
  }

  @Test("a flood of lies moves nothing and costs at most ten readings a second")
  func lies() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      try await bus.publish(20)
      _ = try await watch.waitFor("start", count: 20)
      let begun = ContinuousClock.now
      let readings = try await bus.calls("xrange")
      try await server.connector.withConnection { connection in
        var number = 0
        while ContinuousClock.now - begun < .seconds(3) {
          let true1 = try #require(try await bus.position)
          let (epoch, seq) = (true1.epoch, true1.seq)
          var commands: [RedisCommand] = []
          for (epoch, seq) in [
            (epoch, seq + 1), (epoch, seq + 9), (epoch, 2), (epoch + 1, 1), (7, seq + 1),
          ] {
            number += 1
            commands.append(lie(Position(epoch: epoch, seq: seq), number: number))
          }
          commands.append(lie(Position(epoch: epoch, seq: seq + 1), app: "other", number: number))
          commands.append(lie(Position(epoch: epoch, seq: seq + 1), version: 99, number: number))
          _ = try await connection.pipeline(commands + commands)
          if number % 100 == 0 { try await bus.publish(1) }
        }
      }
      try await bus.publish(5)
      try await expectTheTruth(watch, bus)
      // Those that this test does itself are not many.
      let seconds = (ContinuousClock.now - begun).components.seconds + 1
      #expect(try await bus.calls("xrange") - readings <= 10 * seconds + 10)
      // It waited, it watches, and another app is there; no connection was given up.
      try await eventually("it says so: \(watch.errorOutput)") { watch.errorLines.count >= 3 }
      #expect(watch.errorLines.count == 3, "\(watch.errorOutput)")
      #expect(try watch.peakMemory < 150_000)
    }
  }

  @Test("a chain of lies about the very next events is retracted to the last")
  func chain() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      try await bus.publish(3)
      _ = try await watch.waitFor("start", count: 3)
      let place = try #require(try await bus.position)
      try await server.connector.withConnection { connection in
        for block in 0..<20 {
          let commands = (1...500).map { number in
            let seq = place.seq + Int64(500 * block + number)
            return lie(Position(epoch: place.epoch, seq: seq), number: number)
          }
          _ = try await connection.pipeline(commands)
        }
      }
      try await expectTheTruth(watch, bus)
      try await bus.publish(1)
      try await expectTheTruth(watch, bus)
      #expect(watch.objects(ofType: "retracted").count == 10_000)
    }
  }
}
