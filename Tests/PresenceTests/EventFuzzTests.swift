import TestSupport
import Testing

@testable import Presence

@Suite("Events under fuzzing")
struct EventFuzzTests {
  private static let strings = [
    "a", "web.1", "日本", "a \"b\" \\ c", "\u{1b}[31m", "", "👩‍👩‍👧", "x/y", "\u{7f}", "é",
  ]

  /// An event as our scripts write one, with some of the members that it may have.
  private func event(_ random: inout SeededGenerator) -> Event {
    func some(_ random: inout SeededGenerator) -> String? {
      Bool.random(using: &random) ? Self.strings.randomElement(using: &random) : nil
    }
    var instance = Instance(
      app: "shop", id: "01A", name: some(&random) ?? "w", lease: .seconds(15))
    instance.started = Int64.random(in: 0...2_000_000_000_000, using: &random)
    instance.process = some(&random)
    instance.host = some(&random)
    instance.release = some(&random)
    instance.region = some(&random)
    if Bool.random(using: &random) { instance.pid = Int.random(in: 1...99_999, using: &random) }
    for _ in 0..<Int.random(in: 0...3, using: &random) {
      instance.meta[some(&random) ?? "k"] = some(&random) ?? "v"
    }
    instance.isPlain = Bool.random(using: &random)
    return Event(
      type: EventType.allCases.randomElement(using: &random) ?? .start,
      position: Position(epoch: 5, seq: Int64.random(in: 1...1_000_000, using: &random)),
      at: 1, instance: instance, reason: some(&random),
      exit: Bool.random(using: &random) ? Int64.random(in: 0...255, using: &random) : nil,
      signal: some(&random), expired: Bool.random(using: &random) ? 1_700_000_000_000 : nil,
      memory: EventMemory(
        used: Bool.random(using: &random) ? Int64.random(in: 0...9_999_999, using: &random) : nil,
        limit: Bool.random(using: &random) ? 67_108_864 : nil))
  }

  private func bytes(_ event: Event) -> [UInt8] {
    var text = JSONText()
    event.addMembers(to: &text)
    return text.object
  }

  /// The same as they come from a server, among others.
  private func received(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
    (Array("\"}x".utf8) + bytes + Array("\"}".utf8))[3..<3 + bytes.count]
  }

  /// The same by Foundation's decoder alone.
  private func oracle(_ bytes: [UInt8]) -> Event? { Event.decode(bytes[...]) }

  @Test("the scanner reads what scripts write as the decoder does, and most of it by itself")
  func written() {
    var random = SeededGenerator(state: 11)
    var scanned = 0
    for _ in 0..<5000 {
      let event = event(&random)
      let bytes = bytes(event)
      #expect(Event.read(received(bytes)) == oracle(bytes))
      // Not each of them is one: without a name, say.
      if let read = Event.read(received(bytes)) {
        var line: [UInt8] = []
        read.addLine(to: &line)
        #expect(line == bytes + [0x0A])
      }
      if EventScanner.scan(received(bytes)) != nil { scanned += 1 }
    }
    #expect(scanned > 1000)
  }

  @Test("whatever is done to its bytes, an event is read as the decoder reads it, or not at all")
  func mutated() {
    var random = SeededGenerator(state: 12)
    let splinters = ["\"", "\\", "}", "{", ",", ":", "0", "-", "1e3", "\u{0}", ".5", " ", "null"]
    for _ in 0..<30_000 {
      var bytes = bytes(event(&random))
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        case 2: bytes.removeLast(bytes.count - place)
        default:
          let splinter = splinters.randomElement(using: &random) ?? ""
          bytes.insert(contentsOf: splinter.utf8, at: place)
        }
        if bytes.isEmpty { bytes = [0x7B] }
      }
      if let scanned = EventScanner.scan(received(bytes)) {
        #expect(scanned == oracle(bytes), "\(String(decoding: bytes, as: UTF8.self))")
      }
      _ = Event.position(ofUnreadable: received(bytes), app: "shop")
    }
  }
}
