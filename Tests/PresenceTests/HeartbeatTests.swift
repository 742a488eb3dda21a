import PaasbusRedis
import Testing

@testable import Presence

@Suite("Heartbeat")
struct HeartbeatTests {
  private let start = ContinuousClock.now

  /// A heart with a lease of 3 s that learnt the server's time 1,000,000 at `start`.
  private func heart() -> Heartbeat {
    Heartbeat(
      keys: Keys(app: "shop"), id: "id", lease: 3000,
      clock: ServerClock(time: 1_000_000, asked: start, answered: start))
  }

  private func replies(time: Int64, missing: Int? = nil) -> [RedisValue] {
    let (seconds, microseconds) = (time / 1000, time % 1000 * 1000)
    let time = RedisValue.array(
      [seconds, microseconds].map { .bytes(Array("\($0)".utf8)[...]) })
    return [time] + (1...3).map { .integer($0 == missing ? 0 : 1) }
  }

  /// Whether the next beat may only lengthen the lease.
  private func onlyLengthens(_ heart: inout Heartbeat) -> Bool? {
    heart.commands().at(1)?.arguments.contains(Array("GT".utf8))
  }

  @Test("an answer that was long on its way is no clock that was moved")
  func slowAnswer() throws {
    var heart = heart()
    _ = heart.commands()
    let finding = try heart.read(
      replies(time: 1_000_100), asked: start + .milliseconds(100), answered: start + .seconds(3))
    #expect(finding == .present)
    #expect(onlyLengthens(&heart) == true)
  }

  @Test("a clock that was moved sets the lease anew, backwards too", arguments: [-60_000, 60_000])
  func movedClock(by shift: Int64) throws {
    var heart = heart()
    _ = heart.commands()
    let later = start + .milliseconds(100)
    let finding = try heart.read(
      replies(time: 1_000_100 + shift), asked: later, answered: later)
    #expect(finding == .stale)
    #expect(onlyLengthens(&heart) == false)
    #expect(onlyLengthens(&heart) == true)
  }

  @Test("after an answer that was long on its way, no lease ends later than a lease from now")
  func longOnItsWay() throws {
    let now = ContinuousClock.now
    var heart = Heartbeat(
      keys: Keys(app: "shop"), id: "id", lease: 3000,
      clock: ServerClock(time: 1_000_000, asked: now - .seconds(7), answered: now))
    let words = try #require(heart.commands().at(1)?.arguments)
    let end = words.compactMap { Int64(String(decoding: $0, as: UTF8.self)) }.first
    #expect((1_003_000...1_004_000).contains(end ?? 0))
  }

  @Test("a lease that was used up on its way is renewed at once")
  func usedUp() throws {
    var heart = heart()
    _ = heart.commands()
    let finding = try heart.read(
      replies(time: 1_002_500), asked: start, answered: start + .milliseconds(2500))
    #expect(finding == .stale)
  }

  @Test("whose lease, record or bus is missing was forgotten", arguments: 1...3)
  func forgotten(missing: Int) throws {
    var heart = heart()
    _ = heart.commands()
    let finding = try heart.read(
      replies(time: 1_000_001, missing: missing), asked: start, answered: start + .milliseconds(1))
    #expect(finding == .forgotten)
  }
}
