import PaasbusRedis
import Testing

@testable import Presence

/// Feeds a timeline as a watcher does, with a bus made up by hand.
private struct Bench {
  var timeline: Timeline
  var history: [Int64: [UInt8]] = [:]
  var epoch: Int64 = 1_000
  var last: Int64 = 0

  init(at seq: Int64? = 0, trustsMessages: Bool = true) {
    timeline = Timeline(app: "shop", position: nil)
    for number in 0..<(seq ?? 0) { write(number + 1) }
    timeline = Timeline(
      app: "shop", position: seq.map { Position(epoch: 1_000, seq: $0) }, tail: entries,
      trustsMessages: trustsMessages)
  }

  static func bytes(
    _ seq: Int64, type: String = "start", epoch: Int64 = 1_000, app: String = "shop",
    name: String = "web.1", version: Int = 1, plain: Bool = false
  ) -> [UInt8] {
    let tail = plain ? #","plain":true}"# : "}"
    return Array(
      (#"{"v":\#(version),"type":"\#(type)","epoch":\#(epoch),"seq":\#(seq),"at":5,"#
        + #""app":"\#(app)","id":"01A","name":"\#(name)","started":1,"lease":15000"# + tail).utf8)
  }

  mutating func write(_ seq: Int64, name: String = "web.1") {
    history[seq] = Self.bytes(seq, epoch: epoch, name: name)
    last = max(last, seq)
  }

  mutating func receive(_ bytes: [UInt8]) -> [String] {
    [timeline.receive(bytes[...], now: 7)].compactMap(\.self).map(Self.short)
  }

  private var entries: [HistoryEntry] {
    history.keys.sorted().map {
      HistoryEntry(position: Position(epoch: epoch, seq: $0), bytes: history[$0]?[...] ?? [])
    }
  }

  /// A whole reading of the history.
  mutating func read(before older: [HistoryEntry] = []) -> [String] {
    let bus = Position(epoch: epoch, seq: last)
    let (start, first) = timeline.begin(bus)
    let page = (older + entries).filter { $0.position >= start }
    let output = first + timeline.replay(page, bus: bus) + timeline.finish(bus)
    return output.map(Self.short)
  }

  /// A look at what the history holds where latecomers belong.
  mutating func recall() -> [String] {
    for range in timeline.latecomerPositions {
      timeline.recall(entries.filter { range.contains($0.position) })
    }
    return timeline.judgeLatecomers().map(Self.short)
  }

  /// A comparison with the bus and the pong behind it.
  mutating func compare() {
    let bus = Position(epoch: epoch, seq: last)
    timeline.compare(bus, shownBefore: timeline.position)
    timeline.settle(bus)
  }

  static func short(_ output: WatchOutput) -> String {
    switch output {
    case .event(let event, let source): "\(source) \(event.position.seq) \(event.instance.name)"
    case .snapshot(let status): "snapshot \(status.instance.name)"
    case .foreign(let type, let at): "foreign \(type) at \(at)"
    case .message: "message"
    case .gap(let from, let to): "gap \(from)-\(to)"
    case .reset(let epoch): "reset \(epoch.map(String.init) ?? "to nothing")"
    case .retracted(let seq): "retracted \(seq)"
    }
  }
}

@Suite("Timeline")
struct TimelineTests {
  @Test("a message that continues the position is shown at once")
  func continuing() {
    var bench = Bench(at: 3)
    #expect(bench.receive(Bench.bytes(4)) == ["live 4 web.1"])
    #expect(bench.receive(Bench.bytes(5)) == ["live 5 web.1"])
    #expect(!bench.timeline.needsHistory)
  }

  @Test("the first event of a bus that nobody had seen is live once the history confirms it")
  func birth() {
    var bench = Bench(at: nil)
    #expect(bench.receive(Bench.bytes(1)) == [])
    bench.write(1)
    #expect(bench.read() == ["live 1 web.1"])
    #expect(bench.receive(Bench.bytes(2)) == ["live 2 web.1"])
  }

  @Test("a lie about a bus that nobody has seen is a message, and the true one is still shown")
  func forgedBirth() {
    var bench = Bench(at: nil)
    #expect(bench.receive(Bench.bytes(1, epoch: 77, name: "liar")) == [])
    #expect(bench.timeline.abandon().map(Bench.short) == ["message"])
    #expect(bench.receive(Bench.bytes(1)) == [])
    bench.write(1)
    #expect(bench.read() == ["live 1 web.1"])
  }

  @Test("a jump shows nothing until the history has what was missed")
  func jump() {
    var bench = Bench(at: 1)
    #expect(bench.receive(Bench.bytes(4)) == [])
    #expect(bench.timeline.needsHistory)
    for seq: Int64 in 2...4 { bench.write(seq) }
    #expect(bench.read() == ["replay 2 web.1", "replay 3 web.1", "live 4 web.1"])
    #expect(!bench.timeline.needsHistory)
    #expect(bench.receive(Bench.bytes(5)) == ["live 5 web.1"])
  }

  @Test("messages behind a jump wait and are shown once")
  func messagesBehindAJump() {
    var bench = Bench(at: 1)
    _ = bench.receive(Bench.bytes(3))
    #expect(bench.receive(Bench.bytes(4)) == [])
    for seq: Int64 in 2...3 { bench.write(seq) }
    #expect(bench.read() == ["replay 2 web.1", "live 3 web.1", "live 4 web.1"])
  }

  @Test("a repeated message is not shown again")
  func repeated() {
    var bench = Bench(at: 3)
    _ = bench.receive(Bench.bytes(4))
    #expect(bench.receive(Bench.bytes(4)) == [])
    #expect(!bench.timeline.needsHistory)
  }

  @Test("a message from before the snapshot is recognised and dropped")
  func beforeTheSnapshot() {
    var bench = Bench(at: 3)
    #expect(bench.receive(Bench.bytes(2)) == [])
    #expect(!bench.timeline.needsHistory)
  }

  @Test("a loss of the last events before the snapshot is a reset, and the new ones are shown")
  func lostBeforeTheSnapshot() {
    var bench = Bench(at: 3)
    for seq: Int64 in 2...5 { bench.write(seq, name: "other") }
    bench.timeline.connectionWasLost()
    var shown = bench.read()
    if bench.timeline.needsHistory { shown += bench.read() }
    #expect(
      shown == [
        "reset 1000", "replay 2 other", "replay 3 other", "replay 4 other", "replay 5 other",
      ])
  }

  @Test("a long chain of lies is retracted to the last")
  func chain() {
    var bench = Bench(at: 3)
    var lies: Int64 = 0
    while !bench.timeline.needsHistory {
      lies += 1
      #expect(bench.receive(Bench.bytes(3 + lies, name: "liar")).count == 1)
      if lies == 20_000 { #expect(bench.timeline.wantsComparison) }
    }
    #expect(bench.read().count { $0.hasPrefix("retracted") } == Int(lies))
    #expect(bench.receive(Bench.bytes(4)) == ["live 4 web.1"])
  }

  @Test(
    "what the history does not confirm is a message and moves nothing",
    arguments: [
      Bench.bytes(2, name: "liar"), Bench.bytes(3, name: "liar"), Bench.bytes(99, name: "liar"),
      Bench.bytes(4, epoch: 77), Bench.bytes(1, epoch: 5_000), Bench.bytes(4, version: 99),
    ])
  func lies(lie: [UInt8]) {
    var bench = Bench(at: 3)
    #expect(bench.receive(lie) == [])
    var shown = bench.read()
    if bench.timeline.needsHistory { shown += bench.read() }
    #expect(shown + bench.recall() == ["message"])
    #expect(!bench.timeline.needsHistory)
    #expect(bench.receive(Bench.bytes(4)) == ["live 4 web.1"])
  }

  @Test("a forged next event is retracted by the comparison")
  func forged() {
    var bench = Bench(at: 3)
    #expect(bench.receive(Bench.bytes(4, name: "liar")) == ["live 4 liar"])
    bench.compare()
    #expect(bench.timeline.needsHistory)
    #expect(bench.read() == ["retracted 4"])
    bench.write(4)
    #expect(bench.receive(Bench.bytes(4)) == ["live 4 web.1"])
  }

  @Test("a forged event is retracted when the true one with its number comes")
  func forgedThenTrue() {
    var bench = Bench(at: 3)
    _ = bench.receive(Bench.bytes(4, name: "liar"))
    bench.write(4)
    #expect(bench.receive(Bench.bytes(4)) == [])
    #expect(bench.read() == ["retracted 4", "live 4 web.1"])
  }

  @Test("where messages are not trusted, only what the history holds is shown, once")
  func confirmed() {
    var bench = Bench(at: 3, trustsMessages: false)
    #expect(bench.receive(Bench.bytes(4, name: "forged")).isEmpty && bench.timeline.needsHistory)
    #expect(bench.read().isEmpty)
    // It may have been early; the second reading is certain.
    #expect(bench.read() == ["message"])
    bench.write(4)
    #expect(bench.receive(Bench.bytes(4)).isEmpty && bench.timeline.needsHistory)
    #expect(bench.read() == ["live 4 web.1"])
    #expect(bench.receive(Bench.bytes(4)).isEmpty && !bench.timeline.needsHistory)
  }

  @Test("what a lost connection missed is replayed")
  func reconnect() {
    var bench = Bench(at: 3)
    bench.timeline.connectionWasLost()
    for seq: Int64 in 4...5 { bench.write(seq) }
    #expect(bench.timeline.needsHistory)
    #expect(bench.read() == ["replay 4 web.1", "replay 5 web.1"])
  }

  @Test("what the history no longer holds is a gap")
  func gap() {
    var bench = Bench(at: 3)
    bench.timeline.connectionWasLost()
    for seq: Int64 in 4...9 { bench.write(seq) }
    for seq: Int64 in 1...7 { bench.history[seq] = nil }
    #expect(bench.read() == ["gap 4-7", "replay 8 web.1", "replay 9 web.1"])
  }

  @Test("a history that is gone altogether is a gap up to the bus")
  func wholeGap() {
    var bench = Bench(at: 3)
    bench.timeline.connectionWasLost()
    bench.last = 9
    bench.history = [:]
    #expect(bench.read() == ["gap 4-9"])
    #expect(bench.receive(Bench.bytes(10)) == ["live 10 web.1"])
  }

  @Test("another epoch is a reset, after which everything is shown")
  func newEpoch() {
    var bench = Bench(at: 3)
    bench.epoch = 2_000
    (bench.history, bench.last) = ([:], 0)
    for seq: Int64 in 1...2 { bench.write(seq) }
    #expect(bench.receive(Bench.bytes(2, epoch: 2_000)) == [])
    #expect(bench.read() == ["reset 2000", "replay 1 web.1", "live 2 web.1"])
  }

  @Test("what was published before the snapshot and comes only now is no news, however much it is")
  func longBeforeTheSnapshot() {
    var bench = Bench(at: 5)
    let tail = (4...5).map { seq in
      HistoryEntry(position: Position(epoch: 1_000, seq: seq), bytes: Bench.bytes(seq)[...])
    }
    bench.timeline = Timeline(app: "shop", position: tail[1].position, tail: tail)
    for seq in 1...5 { #expect(bench.receive(Bench.bytes(Int64(seq))) == []) }
    #expect(!bench.timeline.needsHistory)
    #expect(bench.receive(Bench.bytes(6)) == ["live 6 web.1"])
    bench.write(6)
    // From the pong on, all of that has come: an old number now is a lie.
    bench.compare()
    #expect(bench.receive(Bench.bytes(1, name: "liar")) == [])
    #expect(bench.recall() == ["message"])
  }

  @Test("an event of the past that comes late is no news, and a lie about the past is a message")
  func late() {
    var bench = Bench(at: 1000)
    // Of these, the timeline knows the last ones only.
    bench.timeline = Timeline(
      app: "shop", position: Position(epoch: 1_000, seq: 1000),
      tail: (801...1000).map {
        HistoryEntry(
          position: Position(epoch: 1_000, seq: $0), bytes: Bench.bytes($0)[...])
      })
    bench.compare()
    for seq: Int64 in [3, 4, 5, 400, 800] { #expect(bench.receive(Bench.bytes(seq)) == []) }
    #expect(bench.receive(Bench.bytes(500, name: "liar")) == [])
    #expect(bench.timeline.latecomerPositions.count == 4)
    #expect(!bench.timeline.needsHistory)
    // They hold up nothing.
    #expect(bench.receive(Bench.bytes(1001)) == ["live 1001 web.1"])
    #expect(bench.recall() == ["message"])
    #expect(!bench.timeline.hasLatecomers)
  }

  @Test("however many places lies name, the history is read at a few of them")
  func manyPlaces() {
    var bench = Bench(at: 200_000)
    bench.timeline = Timeline(
      app: "shop", position: Position(epoch: 1_000, seq: 200_000), tail: [])
    bench.compare()
    for seq in stride(from: Int64(1), to: 100_000, by: 100) { _ = bench.receive(Bench.bytes(seq)) }
    #expect(bench.timeline.latecomerPositions.count == 64)
  }

  @Test("the end of an epoch that the history still has is shown before the new one")
  func endOfAnEpoch() {
    var bench = Bench(at: 3)
    let old = (4...5).map { seq in
      HistoryEntry(position: Position(epoch: 1_000, seq: seq), bytes: Bench.bytes(seq)[...])
    }
    bench.epoch = 2_000
    (bench.history, bench.last) = ([:], 0)
    bench.write(1)
    #expect(bench.receive(Bench.bytes(1, epoch: 2_000)) == [])
    #expect(
      bench.read(before: old) == [
        "replay 4 web.1", "replay 5 web.1", "reset 2000", "live 1 web.1",
      ])
  }

  @Test("a bus that stays away is a reset once, and what comes then is shown from its birth on")
  func goneForGood() {
    var bench = Bench(at: 3)
    bench.timeline.connectionWasLost()
    #expect(bench.timeline.abandon() == [])
    bench.timeline.compare(nil, shownBefore: bench.timeline.position)
    #expect(!bench.timeline.needsHistory)
    bench.timeline.compare(nil, shownBefore: bench.timeline.position)
    #expect(bench.timeline.abandon().map(Bench.short) == ["reset to nothing"])
    bench.timeline.compare(nil, shownBefore: bench.timeline.position)
    bench.timeline.compare(nil, shownBefore: bench.timeline.position)
    #expect(!bench.timeline.needsHistory)
    bench.epoch = 2_000
    (bench.history, bench.last) = ([:], 0)
    bench.write(1)
    #expect(bench.receive(Bench.bytes(1, epoch: 2_000)) == [])
    #expect(bench.read() == ["live 1 web.1"])
  }

  @Test("a new epoch without events is noticed by the comparison")
  func emptyEpoch() {
    var bench = Bench(at: 3)
    bench.epoch = 500
    (bench.history, bench.last) = ([:], 0)
    bench.compare()
    #expect(bench.read() == ["reset 500"])
  }

  @Test("a fail-over that lost certain writes is a reset, and what is new is shown")
  func lostWrites() {
    var bench = Bench(at: 3)
    for seq: Int64 in 4...6 {
      bench.write(seq)
      _ = bench.receive(Bench.bytes(seq))
    }
    bench.compare()
    for seq: Int64 in 5...6 { bench.history[seq] = nil }
    bench.last = 4
    bench.write(5, name: "other")
    bench.timeline.connectionWasLost()
    #expect(bench.read() == ["reset 1000", "replay 5 other"])
    #expect(bench.receive(Bench.bytes(6)) == ["live 6 web.1"])
  }

  @Test("numbers given anew while we were away are found")
  func rewritten() {
    var bench = Bench(at: 3)
    for seq: Int64 in 4...6 {
      bench.write(seq)
      _ = bench.receive(Bench.bytes(seq))
    }
    bench.compare()
    for seq: Int64 in 5...8 { bench.write(seq, name: "other") }
    bench.timeline.connectionWasLost()
    var shown = bench.read()
    if bench.timeline.needsHistory { shown += bench.read() }
    #expect(
      shown == [
        "reset 1000", "replay 5 other", "replay 6 other", "replay 7 other", "replay 8 other",
      ])
  }

  @Test("the tutorial's words are foreign events")
  func foreign() {
    var bench = Bench(at: 3)
    #expect(bench.receive(Array("start".utf8)) == ["foreign start at 7"])
    #expect(bench.receive(Array("stop".utf8)) == ["foreign stop at 7"])
    #expect(bench.receive(Array("starts".utf8)) == ["message"])
  }

  @Test("only the word directly behind a plain event is dropped")
  func plainWords() {
    var bench = Bench(at: 3)
    #expect(bench.receive(Bench.bytes(4, plain: true)) == ["live 4 web.1"])
    #expect(bench.receive(Array("start".utf8)) == [])
    #expect(bench.receive(Array("start".utf8)) == ["foreign start at 7"])
    _ = bench.receive(Bench.bytes(5, plain: true))
    #expect(bench.receive(Array("stop".utf8)) == ["foreign stop at 7"])
  }

  @Test("another app's events are not shown, but said")
  func otherApps() {
    var bench = Bench(at: 3)
    #expect(bench.receive(Bench.bytes(4, app: "blog")) == [])
    #expect(!bench.timeline.needsHistory)
    #expect(bench.timeline.otherApps == ["blog"])
  }

  @Test("a flood of suspects is bounded, and the true events still come")
  func flood() {
    var bench = Bench(at: 3)
    for number in 0..<5_000 { _ = bench.receive(Bench.bytes(Int64(100 + number))) }
    bench.write(4)
    let shown = bench.read() + bench.read()
    #expect(shown.first == "replay 4 web.1")
    #expect(shown.dropFirst().allSatisfy { $0 == "message" })
    #expect(shown.count == 1002)
    #expect(bench.receive(Bench.bytes(5)) == ["live 5 web.1"])
  }
}
