import TestSupport
import Testing

@testable import Presence

@Suite("Timeline against a model")
struct TimelinePropertyTests {
  /// One watch under random faults.
  private struct Run {
    var random: SeededGenerator
    var model = ModelBus()
    var timeline: Timeline
    var reader: Reader
    let start: Position

    init(seed: UInt64) throws {
      random = SeededGenerator(state: seed)
      for _ in 0..<Int.random(in: 0...20, using: &random) { model.publish() }
      start = try #require(model.bus)
      timeline = Timeline(app: "shop", position: start, tail: model.stream)
      reader = Reader(at: start)
    }

    mutating func step() throws {
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<6: model.publish()
      case 6..<12: try hear()
      case 12: lie()
      case 13: model.repeatOldNews(&random)
      case 14: model.reorder()
      case 15:
        model.disconnect()
        timeline.connectionWasLost()
      case 16: compare()
      case 17:
        if timeline.needsHistory { try readHistory() }
        try recall()
      case 18: if random.chance(oneIn: 10) { model.trim(&random) }
      default: if random.chance(oneIn: 20) { lose() }
      }
    }

    private mutating func hear() throws {
      switch model.next() {
      case .message(let bytes):
        try reader.read([timeline.receive(bytes[...], now: 7)].compactMap(\.self))
      case .pong(let bus): timeline.settle(bus)
      case nil: break
      }
    }

    private mutating func lie() {
      let place = timeline.position ?? start
      let distances: [Int64] = [1, 1, 2, 50, -1, 0]
      let shifts: [Int64] = [0, 0, 0, 5, -5]
      model.lie(
        Position(
          epoch: place.epoch + (shifts.randomElement(using: &random) ?? 0),
          seq: max(1, place.seq + (distances.randomElement(using: &random) ?? 1))))
    }

    private mutating func compare() {
      timeline.compare(model.bus, shownBefore: timeline.position)
      model.ping(model.bus)
    }

    /// A reading in small pages, during which more is published.
    private mutating func readHistory() throws {
      guard let bus = model.bus else { return try reader.read(timeline.abandon()) }
      let (from, output) = timeline.begin(bus)
      try reader.read(output)
      var next = from
      while true {
        let page = Array(model.stream.filter { $0.position >= next }.prefix(4))
        try reader.read(timeline.replay(page, bus: bus))
        guard page.count == 4, let last = page.last?.position else { break }
        next = Position(epoch: last.epoch, seq: last.seq + 1)
        if Bool.random(using: &random) { model.publish() }
      }
      try reader.read(timeline.finish(bus))
    }

    /// Of what comes late, nothing is called a mere message that the history holds.
    private mutating func recall() throws {
      for range in timeline.latecomerPositions {
        timeline.recall(model.stream.filter { range.contains($0.position) })
      }
      let held = Set(model.stream.map { String(decoding: $0.bytes, as: UTF8.self) })
      for case .message(let text) in timeline.judgeLatecomers() {
        try #require(!held.contains(text))
      }
    }

    /// Data is lost, as after a restart or a fail-over; either ends the connection.
    private mutating func lose() {
      if Bool.random(using: &random) {
        let step: Int64 = Bool.random(using: &random) ? 1_000 : -500
        model.rebirth(keepsHistory: Bool.random(using: &random), by: step)
      } else {
        model.failOver(losing: Int.random(in: 0...5, using: &random))
      }
      model.disconnect()
      timeline.connectionWasLost()
    }

    mutating func end() throws {
      for _ in 0..<10 {
        while !model.link.isEmpty { try hear() }
        if timeline.needsHistory { try readHistory() }
        try recall()
        compare()
        while !model.link.isEmpty { try hear() }
      }
      try #require(!timeline.needsHistory)
      try reader.check(model, from: start, position: timeline.position)
    }
  }

  @Test("under random faults each event is shown once and in order, and no lie stands")
  func randomFaults() throws {
    for seed: UInt64 in 0..<2000 {
      var run = try Run(seed: seed)
      do {
        for _ in 0..<200 { try run.step() }
        try run.end()
      } catch {
        Issue.record("seed \(seed): \(error)")
        return
      }
    }
  }
}
