import TestSupport

@testable import Presence

/// A made-up server with instances that beat, and an observer that looks at it: time passes by random
/// steps, in which each of them may stand still and clocks may step.
struct ObservedWorld {
  struct Member {
    var lease: Int64
    var end: Int64
    /// When it beats next, in true ms; nil for one that is dead.
    var nextBeat: Int64?

    var beat: Int64 { lease / 3 }
  }

  /// In ms.
  private(set) var now: Int64 = 100_000
  /// What our clock did not see, as in a virtual machine that paused.
  private var unseen: Int64 = 0
  /// How far the server's clock is off.
  private var offset: Int64 = 1_700_000_000_000
  private(set) var members: [String: Member] = [:]
  private var slowAnswers = 0
  private var random: SeededGenerator
  private let start = ContinuousClock.now

  init(seed: UInt64, members count: Int) {
    random = SeededGenerator(state: seed)
    for number in 0..<count {
      let lease = [2000, 3000, 6000, 15_000, 300_000].randomElement(using: &random) ?? 2000
      let first = now + Int64.random(in: 0...Int64(lease / 3), using: &random)
      members["i\(number)"] = Member(
        lease: Int64(lease), end: server + Int64(lease), nextBeat: first)
    }
  }

  private var server: Int64 { now + offset }
  private var ours: ContinuousClock.Instant { start + .milliseconds(now - unseen) }

  /// Lets time pass, in which those that live beat.
  mutating func pass(_ milliseconds: Int64) {
    now += milliseconds
    beat()
  }

  private mutating func beat() {
    for (id, member) in members {
      guard let next = member.nextBeat, next <= now else { continue }
      let jitter = Double.random(in: 0.9...1.1, using: &random)
      // The last of those that were due; who stood still beats as soon as it goes on.
      let last = next + (now - next) / max(1, member.beat) * member.beat
      members[id]?.end = last + offset + member.lease
      members[id]?.nextBeat = last + Int64(Double(member.beat) * jitter)
    }
  }

  /// Everybody stands still, and the instances go on up to 3 s after the others.
  mutating func suspendAll(for pause: Int64, isSeen: Bool = true) {
    now += pause
    if !isSeen { unseen += pause }
    for (id, member) in members where member.nextBeat != nil {
      members[id]?.nextBeat = now + Int64.random(in: 0...3000, using: &random)
    }
  }

  /// The server's clock is set, and those that live see that with their next beat.
  mutating func stepClock(by milliseconds: Int64) { offset += milliseconds }

  mutating func kill(_ id: String) { members[id]?.nextBeat = nil }

  mutating func remove(_ id: String) { members[id] = nil }

  /// A look, whose answer may take long.
  mutating func look() -> (look: ObservedTime.Look, ends: [String: Int64]) {
    let asked = ours
    let isSlow = random.chance(oneIn: 60)
    pass(isSlow ? Int64.random(in: 900...1300, using: &random) : 1)
    let (time, ends) = (server, members.mapValues(\.end))
    pass(1)
    if random.chance(oneIn: 150) { slowAnswers += 1 }
    let look = ObservedTime.Look(asked: asked, answered: ours, time: time, slowAnswers: slowAnswers)
    return (look, ends)
  }

  var leases: [String: Int64] { members.mapValues(\.lease) }
}
