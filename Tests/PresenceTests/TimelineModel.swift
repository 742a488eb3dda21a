import TestSupport
import Testing

@testable import Presence

/// A bus as Redis has it, and the link by which a watcher hears of it, both at the mercy of chance.
struct ModelBus {
  enum News {
    case message([UInt8])
    /// The answer to a PING that was sent after the bus had been read.
    case pong(Position?)
  }

  private(set) var bus: Position? = Position(epoch: 1_000, seq: 0)
  private(set) var stream: [HistoryEntry] = []
  /// Everything that was ever true.
  private(set) var truth: Set<[UInt8]> = []
  private(set) var link: [News] = []
  private var names = 0

  mutating func publish() {
    let next = Position(epoch: bus?.epoch ?? 1_000, seq: (bus?.seq ?? 0) + 1)
    names += 1
    let bytes = Self.bytes(at: next, name: "true.\(names)")
    bus = next
    stream.append(HistoryEntry(position: next, bytes: bytes[...]))
    truth.insert(bytes)
    link.append(.message(bytes))
  }

  static func bytes(at place: Position, name: String) -> [UInt8] {
    Array(
      (#"{"v":1,"type":"start","epoch":\#(place.epoch),"seq":\#(place.seq),"at":5,"app":"shop","#
        + #""id":"\#(name)","name":"\#(name)","started":1,"lease":15000}"#).utf8)
  }

  mutating func lie(_ place: Position) {
    names += 1
    link.append(.message(Self.bytes(at: place, name: "liar.\(names)")))
  }

  mutating func repeatOldNews(_ random: inout SeededGenerator) {
    if let old = stream.randomElement(using: &random) { link.append(.message(Array(old.bytes))) }
  }

  /// Swaps two messages; a pong always comes behind what was published before its ping.
  mutating func reorder() {
    guard case .message? = link.first, case .message? = link.dropFirst().first else { return }
    link.swapAt(0, 1)
  }

  mutating func ping(_ seen: Position?) { link.append(.pong(seen)) }

  mutating func next() -> News? { link.isEmpty ? nil : link.removeFirst() }

  mutating func disconnect() { link = [] }

  // MARK: Losses

  mutating func trim(_ random: inout SeededGenerator) {
    stream.removeFirst(Int.random(in: 0...stream.count, using: &random))
  }

  /// The bus is lost and born anew, with its history or without.
  mutating func rebirth(keepsHistory: Bool, by step: Int64) {
    if !keepsHistory { stream = [] }
    let last = stream.map(\.position.epoch).max() ?? 0
    bus = Position(epoch: max(last + 1, (bus?.epoch ?? 1_000) + step), seq: 0)
    publish()
  }

  /// A fail-over to a replica that has not got the last events.
  mutating func failOver(losing count: Int) {
    guard let bus else { return }
    let last = max(0, bus.seq - Int64(count))
    stream.removeAll { $0.position.epoch == bus.epoch && $0.position.seq > last }
    self.bus = Position(epoch: bus.epoch, seq: last)
    link = []
  }
}

/// What somebody believes who reads the output from top to bottom.
struct Reader {
  private(set) var belief: [Position: Event] = [:]
  private var missing: Set<Position> = []
  private var last: Position?
  private var isAnew = false

  init(at place: Position?) { last = place }

  mutating func read(_ output: [WatchOutput]) throws {
    for item in output {
      switch item {
      case .event(let event, _): try believe(event)
      case .gap(let from, let to):
        let epoch = try #require(last?.epoch)
        try #require(isAnew || from == (last?.seq ?? 0) + 1, "a gap somewhere else")
        try #require(from <= to)
        for seq in from...to { missing.insert(Position(epoch: epoch, seq: seq)) }
        last = Position(epoch: epoch, seq: to)
        isAnew = false
      case .retracted(let seq):
        let place = Position(epoch: try #require(last?.epoch), seq: seq)
        try #require(belief.removeValue(forKey: place) != nil, "nothing to retract at \(seq)")
        last = min(last ?? place, Position(epoch: place.epoch, seq: seq - 1))
      case .reset(let epoch):
        isAnew = true
        if let epoch, last?.epoch != epoch { last = Position(epoch: epoch, seq: 0) }
      case .message, .foreign, .snapshot: break
      }
    }
  }

  private mutating func believe(_ event: Event) throws {
    let place = event.position
    try #require(belief[place] != event, "shown twice: \(place)")
    if isAnew {
      for known in belief.keys where known.epoch == place.epoch && known >= place {
        belief[known] = nil
      }
    } else {
      try #require(place.epoch == last?.epoch && place.seq == (last?.seq ?? 0) + 1, "out of order")
    }
    belief[place] = event
    missing.remove(place)
    last = place
    isAnew = false
  }

  /// Compares with what is true in the end.
  func check(_ model: ModelBus, from start: Position, position: Position?) throws {
    for entry in model.stream where entry.position.epoch != start.epoch || entry.position > start {
      guard entry.position.epoch == model.bus?.epoch else { continue }
      let known = belief[entry.position]
      try #require(
        known == Event.read(entry.bytes) || missing.contains(entry.position),
        "missed: \(entry.position)")
    }
    // What the history no longer holds, it cannot refute.
    let oldest = model.stream.first?.position ?? start
    for (place, event) in belief where place.epoch == position?.epoch && place >= oldest {
      guard let position, place <= position else { continue }
      try #require(!event.instance.name.hasPrefix("liar"), "a lie stands: \(place)")
    }
    try #require(position == model.bus)
  }
}
