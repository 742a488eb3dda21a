import Foundation
import TestSupport
import Testing

@testable import Presence
@testable import Redis

@Suite("Values of the protocol")
struct ValueTests {
  @Test(
    "app names keep to the characters of keys",
    arguments: [
      ("shop", "shop"), ("my app!", "my-app-"), ("a.b_c-D9", "a.b_c-D9"), ("{x}", "-x-"),
      ("é½", "--"), (String(repeating: "x", count: 300), String(repeating: "x", count: 100)),
    ])
  func appNames(given: String, kept: String) {
    #expect(Keys.appName(from: given) == kept)
  }

  @Test("ids are 26 characters of Crockford's alphabet and differ")
  func ids() {
    let ids = Set((0..<1000).map { _ in InstanceID.make() })
    #expect(ids.count == 1000)
    #expect(
      ids.allSatisfy {
        $0.count == 26 && $0.allSatisfy("0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains)
      }
    )
  }

  @Test(
    "an instance comes back from its record as it was",
    arguments: [
      "web.1", "a \"b\" \\ c", "new\nline", "\u{1b}[31m", "\u{202e}evil", "👩‍👩‍👧", "日本",
    ])
  func roundTrip(name: String) throws {
    var instance = Instance(app: "shop", name: name, lease: .seconds(15))
    instance.started = 1_700_000_000_000
    instance.meta = ["zone": name, "b": "2"]
    instance.pid = 4
    var text = JSONText()
    instance.addMembers(to: &text)
    #expect(Instance.decode(text.object[...], from: 0)?.instance == instance)
    #expect(!text.object.contains { $0 < 0x20 })
  }

  @Test(
    "bytes that are no event are none, and nothing traps",
    arguments: [
      "", "{", "{}", "[]", "null", "start", #"{"v":1}"#, #"{"v":2,"type":"start"}"#,
      #"{"v":1,"type":"start","epoch":1,"seq":0,"at":1,"app":"a","id":"i","name":"n","started":1,"lease":1}"#,
      #"{"v":1,"type":"start","epoch":1,"seq":9223372036854775807,"at":1,"app":"a","id":"i","name":"n","started":1,"lease":1}"#,
      #"{"v":1,"type":"start","epoch":1,"seq":1,"at":1,"app":"a","id":"i","name":"n","started":-9223372036854775808,"lease":1}"#,
      #"{"v":1,"type":"born","epoch":1,"seq":1,"at":1,"app":"a","id":"i","name":"n","started":1,"lease":1}"#,
      String(repeating: "[", count: 5000), #"{"v":1e400}"#,
    ])
  func noEvents(text: String) {
    #expect(Event.read(Array(text.utf8)[...]) == nil)
  }

  @Test("an event of more than 8 KiB is none")
  func tooLarge() {
    let name = String(repeating: "x", count: 9000)
    let text =
      #"{"v":1,"type":"start","epoch":1,"seq":1,"at":1,"app":"a","id":"i","name":"\#(name)","started":1,"lease":1}"#
    #expect(Event.read(Array(text.utf8)[...]) == nil)
  }

  @Test("a back-off tries at about 0, 100, 300 and 700 ms, then ever later, up to its longest")
  func backoff() {
    var generator = SeededGenerator(state: 3)
    for _ in 0..<100 {
      var backoff = Backoff()
      let waits = (0..<12).map { _ in backoff.next(using: &generator) }
      for (wait, wanted) in zip(waits, [0, 100, 200, 400]) {
        #expect((wanted * 8 / 10...wanted * 12 / 10).contains(Int(wait.milliseconds)))
      }
      // One that could not connect for a second still comes back before it is given up.
      #expect(waits.prefix(5).reduce(.zero, +) < ConnectionProbe.patience)
      #expect(waits.dropFirst(4).allSatisfy { $0 >= .milliseconds(250) && $0 <= .seconds(5) })
      #expect(waits.suffix(4).allSatisfy { $0 >= .milliseconds(2500) })
      backoff.reset()
      #expect(backoff.next(using: &generator) == .zero)
    }
  }

  @Test("a thousand who lost their server at once come back spread over time")
  func spread() {
    var generator = SeededGenerator(state: 4)
    // When each tries for the sixth time, in ms after the loss, counted in tenths of a second.
    var tenths: [Int64: Int] = [:]
    for _ in 0..<1000 {
      var backoff = Backoff()
      let waits = (0..<6).map { _ in backoff.next(using: &generator) }
      tenths[waits.reduce(.zero, +).milliseconds / 100, default: 0] += 1
    }
    #expect(tenths.count >= 8)
    #expect(tenths.values.allSatisfy { $0 < 250 }, "\(tenths)")
  }

  @Test("durations become milliseconds and saturate")
  func milliseconds() {
    #expect(Duration.milliseconds(1500).milliseconds == 1500)
    #expect(Duration.seconds(Int64.max / 2).milliseconds == .max)
  }
}

@Suite("Lease observer")
struct LeaseObserverTests {
  private let start = ContinuousClock.now

  private func look(
    _ observer: inout LeaseObserver, at seconds: Double, end: Int64 = 10_000,
    took: Duration = .zero
  ) -> [String] {
    let asked = start + .seconds(seconds)
    return observer.look(
      asked: asked, answered: asked + took, ends: ["a": end], leases: ["a": 15_000],
      now: Int64(seconds * 1000)
    ).map(\.id)
  }

  @Test("whoever's end was seen for a beat is lost once it is over")
  func lost() {
    var observer = LeaseObserver()
    #expect(look(&observer, at: 5.5) == [])
    #expect(look(&observer, at: 9.9) == [])
    #expect(look(&observer, at: 10.6) == [])
    #expect(look(&observer, at: 10.7) == [])
    #expect(look(&observer, at: 10.85) == ["a"])
  }

  @Test("who renews once the server goes on is not lost, however little of its standstill showed")
  func hiddenStandstill() {
    var observer = LeaseObserver()
    _ = look(&observer, at: 9)
    // The server stood still between these looks, and answers this one before the late beat.
    #expect(look(&observer, at: 15) == [])
    #expect(observer.confirmation == start + .seconds(15) + LeaseObserver.moment)
    #expect(look(&observer, at: 15.3, end: 30_000) == [])
    #expect(observer.confirmation == nil)
  }

  @Test("after an outage a lease that is long over is watched for a beat first")
  func outage() {
    var observer = LeaseObserver()
    #expect(look(&observer, at: 60) == [])
    #expect(look(&observer, at: 64.9) == [])
    #expect(look(&observer, at: 65) == [])
    #expect(look(&observer, at: 65.25) == ["a"])
  }

  @Test("however short its lease, who lost its connection has time to come back")
  func shortLease() {
    var observer = LeaseObserver()
    let looks = stride(from: 0.0, through: 2, by: 0.25).map { seconds in
      let asked = start + .seconds(seconds)
      return observer.look(
        asked: asked, answered: asked, ends: ["a": 0], leases: ["a": 2000], now: 9_000_000)
    }
    #expect(looks.map(\.count) == [0, 0, 0, 0, 0, 0, 0, 1, 1])
  }

  @Test("an end that moves begins anew")
  func moves() {
    var observer = LeaseObserver()
    _ = look(&observer, at: 60)
    #expect(look(&observer, at: 64, end: 11_000) == [])
    #expect(look(&observer, at: 66, end: 11_000) == [])
    #expect(look(&observer, at: 69, end: 11_000) == [])
    #expect(look(&observer, at: 70, end: 11_000) == ["a"])
  }

  @Test("a slow answer begins anew")
  func slow() {
    var observer = LeaseObserver()
    _ = look(&observer, at: 60)
    #expect(look(&observer, at: 66, took: .milliseconds(1100)) == [])
    #expect(look(&observer, at: 68) == [])
    #expect(look(&observer, at: 73) == [])
    #expect(look(&observer, at: 74) == ["a"])
  }

  @Test("a new connection begins anew")
  func reconnect() {
    var observer = LeaseObserver()
    _ = look(&observer, at: 60)
    observer.startAnew()
    #expect(look(&observer, at: 66) == [])
  }
}

@Suite("Connection probe")
struct ConnectionProbeTests {
  private let start = ContinuousClock.now

  private func clients(_ ids: String...) -> String {
    ids.map { "id=3 addr=/tmp/s:0 name=paasbus:\($0) age=1\n" }.joined()
      + "id=4 addr=/tmp/s:0 name=other age=1\nid=5 name= age=2\n"
  }

  @Test("whoever was seen, is missing and does not move its lease is lost after 1.5 s")
  func gone() {
    var probe = ConnectionProbe()
    #expect(probe.list(clients("a", "b"), at: start) == [])
    for (seconds, lost) in [(0.25, []), (1.5, []), (1.76, ["a"]), (2.0, [])] {
      let now = start + .seconds(seconds)
      let missing = probe.list(clients("b"), at: now)
      #expect(probe.look(missing.map { ($0, 99) }, at: now).map(\.id) == lost)
    }
  }

  @Test("a reap that the server did not take is tried again, also after a late answer")
  func again() {
    var probe = ConnectionProbe()
    _ = probe.list(clients("a"), at: start)
    var lost: [Double] = []
    for quarter in 1...20 {
      let now = start + .seconds(Double(quarter) / 4)
      let missing = probe.list(clients(), at: now)
      if quarter == 12 { probe.startAnew() }
      let found = probe.look(missing.map { ($0, 99) }, at: now)
      if !found.isEmpty { lost.append(Double(quarter) / 4) }
    }
    #expect(lost == [1.75, 4.5])
  }

  @Test("who came back after it seemed to be gone is left to its lease")
  func doubted() {
    var probe = ConnectionProbe()
    _ = probe.list(clients("a"), at: start)
    for seconds in [1.0, 2.6] {
      let now = start + .seconds(seconds)
      _ = probe.look(probe.list(clients(), at: now).map { ($0, 99) }, at: now)
    }
    let gone = probe.list(clients(), at: start + .seconds(3))
    #expect(gone == ["a"])
    #expect(probe.look([("a", nil)], at: start + .seconds(3)).isEmpty)
    _ = probe.list(clients("a"), at: start + .seconds(4))
    #expect(probe.list(clients(), at: start + .seconds(5)) == [])
  }

  @Test("a name that was never seen is never missed")
  func unseen() {
    var probe = ConnectionProbe()
    #expect(probe.list(clients(), at: start) == [])
    #expect(probe.list(clients(), at: start + .seconds(9)) == [])
  }

  @Test("who comes back, moves its lease, or has none is not lost")
  func alive() {
    var probe = ConnectionProbe()
    _ = probe.list(clients("a", "b", "c"), at: start)
    var now = start + .seconds(1)
    #expect(Set(probe.list(clients(), at: now)) == ["a", "b", "c"])
    #expect(probe.look([("a", 9), ("b", 9), ("c", nil)], at: now).isEmpty)
    now += .seconds(2)
    #expect(probe.list(clients("a"), at: now) == ["b"])
    #expect(probe.look([("b", 10)], at: now).isEmpty)
    now += .seconds(2)
    #expect(probe.list(clients("a"), at: now) == [])
  }

  @Test("many clients are listed seldom")
  func rate() {
    var probe = ConnectionProbe()
    let text = String(repeating: "id=1 name=x\n", count: 5000)
    _ = probe.list(text, at: start)
    #expect(probe.nextLook == start + .seconds(5))
    _ = probe.list("id=1 name=x\n", at: start)
    #expect(probe.nextLook == start + .milliseconds(250))
  }

  @Test("many watchers list no more than one")
  func sharing() {
    var probe = ConnectionProbe()
    let watchers = String(repeating: "id=1 name=paasbus-watch age=1\n", count: 100)
    _ = probe.list(watchers + String(repeating: "id=1 name=x age=1\n", count: 900), at: start)
    #expect(probe.nextLook > start + .seconds(70))
    // Whoever found somebody missing does not wait for its turn.
    _ = probe.list(watchers + clients("a"), at: start)
    let missing = probe.list(watchers + clients(), at: start)
    #expect(probe.look(missing.map { ($0, 99) }, at: start).isEmpty)
    #expect(probe.nextLook == start + .milliseconds(1500))
  }

  @Test(
    "rubbish in the list is passed over",
    arguments: [
      "", "\n\n", "name=paasbus:", " name=paasbus:", " name=paasbus:x",
    ])
  func rubbish(text: String) {
    var probe = ConnectionProbe()
    _ = probe.list(text, at: start)
  }
}
