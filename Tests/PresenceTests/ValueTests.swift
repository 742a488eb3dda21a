import Foundation
import TestSupport
import Testing

@testable import PaasbusRedis
@testable import Presence

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
    #expect(Instance.decode(text.object[...]) == instance)
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
