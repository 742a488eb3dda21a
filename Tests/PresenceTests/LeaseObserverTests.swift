import TestSupport
import Testing

@testable import Presence

@Suite("Lease observer")
struct LeaseObserverTests {
  private let start = ContinuousClock.now

  /// Looks at one instance again and again.
  private struct Watch {
    var time: ObservedTime
    var observer = LeaseObserver()
    var start: ContinuousClock.Instant
    var lease: Int64

    /// - Parameters:
    ///   - seconds: when, by our clock.
    ///   - server: the server's time in seconds; nil for the same.
    mutating func look(
      at seconds: Double, server: Double? = nil, took: Duration = .zero, slow: Int = 0,
      _ ends: [String: Int64]
    ) -> [String] {
      let asked = start + .seconds(seconds)
      let now = Int64((server ?? seconds) * 1000)
      time.add(
        .init(asked: asked, answered: asked + took, time: now, slowAnswers: slow),
        isCalm: ends.values.allSatisfy { $0 >= now })
      return observer.look(ends, lengths: ends.mapValues { _ in lease }, in: time).map(\.id)
    }

    /// Looks each half second.
    mutating func look(
      _ range: ClosedRange<Double>, step: Double = 0.5, _ ends: [String: Int64]
    ) -> [Double] {
      stride(from: range.lowerBound, through: range.upperBound, by: step)
        .filter { !look(at: $0, ends).isEmpty }
    }
  }

  private func watch(lease: Int64 = 15_000, isReconnected: Bool = false) -> Watch {
    Watch(time: ObservedTime(isReconnected: isReconnected), start: start, lease: lease)
  }

  @Test("an end that was observed for 1.1 beats and half a second is lost once it is over")
  func lost() {
    var watch = watch()
    #expect(watch.look(3...12, ["a": 10_000]) == [11, 11.5, 12])
    #expect(watch.observer.nextDue != nil)
  }

  @Test("however short its lease, an instance that lost its connection has time to come back")
  func shortLease() {
    var watch = watch(lease: 2000)
    #expect(watch.look(0...1.75, step: 0.25, ["a": 2000]) == [])
    var other = self.watch(lease: 2000)
    #expect(other.look(0...3, step: 0.25, ["a": 1000, "b": 9000]).first == 1.75)
  }

  @Test("after a break an end that stood at it gets 5 s, and 1.1 beats and a second")
  func afterBreak() {
    var short = watch(lease: 2000, isReconnected: true)
    #expect(short.look(60...66, step: 0.25, ["a": 10_000]).first == 65.25)
    var long = watch(lease: 30_000, isReconnected: true)
    #expect(long.look(60...80, step: 0.25, ["a": 10_000]).first == 72.25)
  }

  @Test("an end that was set after the break needs no more than any other")
  func renewedAfterBreak() {
    var watch = watch(lease: 2000, isReconnected: true)
    #expect(watch.look(60...60.5, ["a": 50_000]) == [])
    #expect(watch.look(60.75...64, step: 0.25, ["a": 62_300]).first == 62.75)
  }

  @Test("where one comes back after a break, the others get as long again, for a minute at most")
  func returning() {
    var watch = watch(lease: 2000, isReconnected: true)
    var found: [Double] = []
    for second in stride(from: 0.0, through: 70, by: 1) {
      // One after the other, each 4 s.
      var ends = ["a": Int64(-1000)]
      for other in 1...30 where second < Double(other) * 4 { ends["b\(other)"] = -500 }
      for other in 1...30 where second == Double(other) * 4 {
        ends["b\(other)"] = Int64(second * 1000) + 2000
      }
      if watch.look(at: 100 + second, server: second, ends).contains("a") { found.append(second) }
    }
    #expect(found.first == 66)
  }

  @Test("a start that finds leases over counts as a break, a calm one does not")
  func beginning() {
    var late = watch(lease: 2000)
    #expect(late.look(60...67, step: 0.25, ["a": 10_000]).first == 65.25)
    var calm = watch(lease: 2000)
    #expect(calm.look(60...67, step: 0.25, ["a": 61_000]).first == 61.75)
  }

  @Test(
    "time that was not observed does not count",
    arguments: [
      // By our clock, by the server's, and where that goes back.
      (64.0, nil), (62.5, 68.0), (62.5, 59.0),
    ] as [(Double, Double?)])
  func breaks(ours: Double, server: Double?) {
    var watch = watch(lease: 2000)
    #expect(watch.look(60...61.5, ["a": 62_000]) == [])
    let shift = (server ?? ours) - ours
    var found: [Double] = []
    for second in stride(from: 0.0, through: 9, by: 0.5)
    where !watch.look(at: ours + second, server: ours + second + shift, ["a": 62_000]).isEmpty {
      found.append(second)
    }
    #expect(found.first == 5.5)
  }

  @Test("a slow answer, to this or to another question, is a break")
  func slow() {
    for (took, slow) in [(Duration.milliseconds(1100), 0), (.zero, 1)] {
      var watch = watch(lease: 2000)
      #expect(watch.look(60...62, ["a": 63_000]) == [])
      #expect(watch.look(at: 62.5, took: took, slow: slow, ["a": 63_000]) == [])
      let found = stride(from: 63.7, through: 72, by: 0.5).first {
        !watch.look(at: $0, slow: slow, ["a": 63_000]).isEmpty
      }
      #expect((found ?? 0) >= 67.9)
    }
  }

  @Test("an end that moves begins anew")
  func moves() {
    var watch = watch()
    #expect(watch.look(0...9, ["a": 9500]) == [])
    #expect(watch.look(9.5...20, ["a": 10_500]).first == 16)
  }

  @Test("an end that lies ahead for longer than a lease and 1.1 beats is over: the clock went back")
  func ahead() {
    var watch = watch(lease: 6000)
    #expect(watch.look(0...8.5, ["a": 3_600_000]) == [])
    _ = watch.look(at: 9, ["a": 3_600_000])
    watch.time.add(
      .init(asked: start + .seconds(9.5), answered: start + .seconds(9.5), time: 9500), isCalm: true
    )
    let lost = watch.observer.look(["a": 3_600_000], in: watch.time)
    #expect(lost == [LeaseObserver.Lost(id: "a", end: 3_600_000, isAhead: true)])
  }

  @Test("nothing that anybody may have written trips it")
  func extremes() {
    let most: Int64 = 9_000_000_000_000_000
    for isReconnected in [true, false] {
      var watch = watch(lease: 86_400_000, isReconnected: isReconnected)
      for second in 0...3 {
        _ = watch.look(at: Double(second), ["a": most, "b": -most, "c": 0])
        _ = watch.observer.nextDue
      }
    }
    var time = ObservedTime(isReconnected: false)
    for now in [Int64.max, Int64.min, 0] {
      time.add(.init(asked: start, answered: start, time: now), isCalm: true)
    }
  }

  // MARK: Against the rule

  @Test("random runs of pauses, slow answers, clock steps, deaths and returns follow the rule")
  func random() {
    var (found, falseDeaths, breaks) = (0, 0, 0)
    for seed in 1...1500 as ClosedRange<UInt64> {
      var world = ObservedWorld(seed: seed, members: 6)
      var random = SeededGenerator(state: seed ^ 0xABBA)
      let isReconnected = random.chance(oneIn: 3)
      var time = ObservedTime(isReconnected: isReconnected)
      var observer = LeaseObserver()
      var oracle = LeaseOracle(leases: world.leases, isReconnected: isReconnected)
      var hasSteppedBack = false
      for _ in 0..<60 {
        let (look, ends) = world.look()
        time.add(look, isCalm: ends.values.allSatisfy { $0 >= look.time })
        let lost = Set(observer.look(ends, lengths: world.leases, in: time).map(\.id))
        let expected = oracle.look(look, ends)
        guard lost == expected else {
          Issue.record("seed \(seed): \(lost) and not \(expected)")
          return
        }
        // An observer that looked again at once would do nothing else.
        guard observer.nextDue.map({ $0 > look.asked }) ?? true else {
          Issue.record("seed \(seed): the next look is due before this one")
          return
        }
        found += lost.count
        falseDeaths += lost.count { world.members[$0]?.nextBeat != nil && !hasSteppedBack }
        for id in lost { world.remove(id) }
        switch Int.random(in: 0..<40, using: &random) {
        case 0: world.suspendAll(for: Int64.random(in: 2000...20_000, using: &random))
        case 1:
          world.suspendAll(for: Int64.random(in: 2000...20_000, using: &random), isSeen: false)
        case 2: world.stepClock(by: Int64.random(in: 500...60_000, using: &random))
        case 3:
          world.stepClock(by: -Int64.random(in: 100...60_000, using: &random))
          hasSteppedBack = true
        case 4, 5, 6:
          if let id = world.members.keys.sorted().randomElement(using: &random) { world.kill(id) }
        case 7: world.pass(Int64.random(in: 1000...3000, using: &random))
        default: world.pass(Int64.random(in: 100...1100, using: &random))
        }
      }
      breaks += (time.stretch?.number ?? 1) - 1
    }
    #expect(falseDeaths == 0)
    #expect(found > 1000 && breaks > 3000, "\(found) lost, \(breaks) breaks")
  }
}
