import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("Connection probe")
struct ConnectionProbeTests {
  private let start = ContinuousClock.now

  private func clients(_ ids: String...) -> String { clients(ids) }

  private func clients(_ ids: [String]) -> String {
    ids.map { "id=3 addr=/tmp/s:0 name=paasbus:\($0) age=1\n" }.joined()
      + "id=4 addr=/tmp/s:0 name=other age=1\nid=5 name= age=2\n"
  }

  /// A probe, and the looks that prove the time.
  private struct Watch {
    var probe = ConnectionProbe()
    var time: ObservedTime
    let start: ContinuousClock.Instant

    init(start: ContinuousClock.Instant, isReconnected: Bool = false) {
      self.start = start
      time = ObservedTime(isReconnected: isReconnected)
    }

    /// Lists, and looks up the leases of those that are missing.
    mutating func list(
      _ text: String, at seconds: Double, end: Int64? = 99, server: Double? = nil
    ) -> Set<String> {
      let asked = start + .seconds(seconds)
      let now = Int64((server ?? seconds) * 1000)
      time.add(.init(asked: asked, answered: asked, time: now), isCalm: true)
      let missing = probe.list(text, at: asked)
      return Set(
        probe.look(missing.map { (id: $0, end: end) }, asked: asked, in: time).map(\.id))
    }

    /// When somebody was lost, listing each quarter of a second.
    mutating func list(_ text: String, _ range: ClosedRange<Double>) -> [Double] {
      stride(from: range.lowerBound, through: range.upperBound, by: 0.25)
        .filter { !list(text, at: $0).isEmpty }
    }
  }

  @Test("an instance that was seen, is missing and does not move its lease is lost after 1.5 s")
  func gone() {
    var watch = Watch(start: start)
    #expect(watch.list(clients("a", "b"), at: 0) == [])
    #expect(watch.list(clients("b"), 0.25...2) == [1.75])
  }

  @Test("a reap that the server did not take is tried again")
  func again() {
    var watch = Watch(start: start)
    _ = watch.list(clients("a"), at: 0)
    #expect(watch.list(clients(), 0.25...4) == [1.75, 3.5])
  }

  @Test("after a break it gets 5 s, and time that was not observed does not count")
  func afterBreak() {
    var reconnected = Watch(start: start, isReconnected: true)
    _ = reconnected.list(clients("a"), at: 0)
    #expect(reconnected.list(clients(), 0.25...6).first == 5.25)

    var paused = Watch(start: start)
    _ = paused.list(clients("a"), at: 0)
    #expect(paused.list(clients(), 0.25...1.25) == [])
    // Our clock does not see this, the server's does.
    #expect(paused.list(clients(), at: 1.75, server: 9) == [])
    let found = stride(from: 2.0, through: 9, by: 0.25).first {
      !paused.list(clients(), at: $0, server: $0 + 7.25).isEmpty
    }
    #expect(found == 6.75)
  }

  @Test("some time after a break it is as quick as ever")
  func calm() {
    var watch = Watch(start: start, isReconnected: true)
    #expect(watch.list(clients("a"), 0...6) == [])
    #expect(watch.list(clients(), 6.25...9).first == 7.75)
  }

  @Test("where more than 200 are missing at once, they get 5 s")
  func mass() {
    let ids = (0..<250).map { "i\($0)" }
    var watch = Watch(start: start)
    _ = watch.list(clients(ids), at: 0)
    #expect(watch.list(clients(Array(ids.prefix(240))), 0.25...1) == [])
    #expect(watch.list(clients(), at: 1.25) == [])
    // Most of them are back.
    #expect(watch.list(clients(Array(ids.prefix(200))), 1.5...7).first == 5.25)
  }

  @Test("one that came back after it seemed to be gone is left to its lease")
  func doubted() {
    var watch = Watch(start: start)
    _ = watch.list(clients("a"), at: 0)
    #expect(watch.list(clients(), 0.25...2) == [1.75])
    #expect(watch.list(clients(), at: 2.25, end: nil) == [])
    _ = watch.list(clients("a"), at: 2.5)
    #expect(watch.list(clients(), 2.75...9) == [])
  }

  @Test("a name that was never seen is never missed")
  func unseen() {
    var watch = Watch(start: start)
    #expect(watch.list(clients(), 0...9) == [])
  }

  @Test("one that comes back, moves its lease, or has none is not lost")
  func alive() {
    var watch = Watch(start: start)
    _ = watch.list(clients("a", "b"), at: 0)
    #expect(watch.list(clients("b"), at: 1, end: nil) == [])
    #expect(watch.list(clients("a"), at: 2, end: 5) == [])
    #expect(watch.list(clients("a"), at: 3.4, end: 10) == [])
    #expect(watch.list(clients("a"), 4...9) == [])
  }

  @Test("many clients are listed seldom")
  func rate() {
    var probe = ConnectionProbe()
    let text = String(repeating: "id=1 name=x\n", count: 5000)
    _ = probe.list(text, at: start)
    #expect(probe.nextLook == SharedTick.last(within: .seconds(5), of: start))
    _ = probe.list("id=1 name=x\n", at: start)
    #expect(probe.nextLook == SharedTick.last(within: .zero, of: start))
  }

  @Test("many watchers list no more than one")
  func sharing() {
    var watch = Watch(start: start)
    let watchers = String(repeating: "id=1 name=paasbus-watch age=1\n", count: 100)
    _ = watch.probe.list(watchers + String(repeating: "id=1 name=x age=1\n", count: 900), at: start)
    #expect(watch.probe.nextLook > start + .seconds(70))
    // One that found somebody missing does not wait for its turn.
    _ = watch.list(watchers + clients("a"), at: 0)
    #expect(watch.list(watchers + clients(), at: 0) == [])
    #expect(watch.probe.nextLook == start + .milliseconds(1500))
  }

  @Test(
    "rubbish in the list is passed over",
    arguments: ["", "\n\n", "name=paasbus:", " name=paasbus:", " name=paasbus:x"])
  func rubbish(text: String) {
    var probe = ConnectionProbe()
    _ = probe.list(text, at: start)
  }

  // MARK: Against the rule

  /// What was listed at a moment, and what the look behind it found.
  private struct Record {
    var listed: ContinuousClock.Instant
    var present: Set<String>
    var ends: [String: Int64]
    var stretch: ObservedTime.Stretch?
  }

  /// Whom the last list of all makes lost, reckoned from all that was seen.
  private func expected(_ records: [Record], _ doubted: Set<String>) -> Set<String> {
    guard let last = records.last, let stretch = last.stretch else { return [] }
    return Set(
      last.ends.keys.filter { id in
        guard !last.present.contains(id), !doubted.contains(id) else { return false }
        // The lists in a row, without a break, on which it was missing with the same end.
        let row = records.reversed().prefix { record in
          !record.present.contains(id) && record.ends[id] == last.ends[id]
            && record.stretch?.number == stretch.number
        }
        guard let first = row.last, let since = first.stretch?.last.answered,
          isKnown(id, in: records, before: records.count - row.count)
        else { return false }
        let isMass = row.contains { record in
          record.ends.keys.count { !record.present.contains($0) } > 200
        }
        let isAftermath =
          stretch.followsBreak && since - stretch.first.answered < .seconds(5)
        return last.listed - since >= (isMass || isAftermath ? .seconds(5) : .milliseconds(1500))
      })
  }

  /// Whether its connection was seen, and nothing since then has said that it lives without that one.
  private func isKnown(_ id: String, in records: [Record], before index: Int) -> Bool {
    for (earlier, later) in zip(records, records.dropFirst()).prefix(index).reversed() {
      if earlier.present.contains(id) { return true }
      if !later.present.contains(id), earlier.ends[id] != later.ends[id],
        let number = later.stretch?.number, earlier.stretch?.number == number
      {
        return false
      }
    }
    return false
  }

  @Test("random runs of pauses, kills, and connections that come back follow the rule")
  func random() {
    var (found, breaks) = (0, 0)
    for seed in 1...1500 as ClosedRange<UInt64> {
      var random = SeededGenerator(state: seed)
      var world = ObservedWorld(seed: seed, members: 5)
      let isReconnected = random.chance(oneIn: 3)
      var watch = Watch(start: start, isReconnected: isReconnected)
      var connected = Set(world.members.keys)
      var (records, lostOnce): ([Record], Set<String>) = ([], [])
      for _ in 0..<50 {
        let ((look, ends), listed) = (world.look(), connected)
        watch.time.add(look, isCalm: true)
        let missing = watch.probe.list(clients(Array(listed)), at: look.asked)
        let lost = watch.probe.look(
          missing.map { (id: $0, end: ends[$0]) }, asked: look.asked, in: watch.time)
        records.append(
          Record(listed: look.asked, present: listed, ends: ends, stretch: watch.time.stretch))
        let expected = expected(records, lostOnce)
        guard Set(lost.map(\.id)) == expected else {
          Issue.record("seed \(seed): \(lost.map(\.id)) and not \(expected)")
          return
        }
        found += lost.count
        lostOnce.formUnion(expected)
        for id in expected { world.remove(id) }
        let id = world.members.keys.sorted().randomElement(using: &random)
        switch Int.random(in: 0..<24, using: &random) {
        case 0: world.suspendAll(for: 5000, isSeen: random.chance(oneIn: 2))
        case 1, 2:
          if let id {
            world.kill(id)
            connected.remove(id)
          }
        case 3, 4: if let id { connected.remove(id) }
        case 5: connected.formUnion(world.members.filter { $0.value.nextBeat != nil }.keys)
        default: world.pass(Int64.random(in: 100...700, using: &random))
        }
      }
      breaks += (watch.time.stretch?.number ?? 1) - 1
    }
    #expect(found > 500 && breaks > 1000, "\(found) lost, \(breaks) breaks")
  }
}
