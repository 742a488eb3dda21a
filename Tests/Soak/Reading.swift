import Foundation
import Presence
import TestSupport

/// What one watcher printed, read from top to bottom and held against the truth.
struct Reading {
  private(set) var seen = 0
  private(set) var doubled = 0
  /// Shown and not true, or out of order.
  private(set) var wrong = 0
  private(set) var gaps = 0
  private(set) var retracted = 0
  /// Ended with an epoch before the watcher could read it; said as a reset.
  private(set) var lostWithData = 0
  private(set) var missed = 0
  private(set) var remarks: [String] = []
  let expected: Int

  private var shown: [Position: String] = [:]
  private var told: Set<Position> = []
  private var last: Position?
  private var isAnew = true

  init(of lines: [String], truth: [Position: String]) {
    expected = truth.count
    for line in lines {
      guard let object = Self.object(line) else { continue }
      read(object, line)
    }
    compare(truth)
  }

  static func object(_ text: String) -> [String: JSONValue]? {
    try? JSONDecoder().decode([String: JSONValue].self, from: Data(text.utf8))
  }

  private mutating func read(_ object: [String: JSONValue], _ line: String) {
    let seq = object["seq"]?.number ?? 0
    switch (object["source"]?.text, object["type"]?.text) {
    case ("watch", "retracted"):
      guard let epoch = last?.epoch else { return }
      let place = Position(epoch: epoch, seq: seq)
      if shown.removeValue(forKey: place) == nil { blame("retracts what was not shown: \(place)") }
      retracted += 1
      last = min(last ?? place, Position(epoch: epoch, seq: seq - 1))
    case ("watch", "gap"):
      guard let from = object["from"]?.number, let to = object["to"]?.number, from <= to,
        let epoch = last?.epoch
      else { return blame("a gap without a place: \(line)") }
      told.formUnion((from...to).map { Position(epoch: epoch, seq: $0) })
      last = Position(epoch: epoch, seq: to)
    case ("watch", "reset"):
      isAnew = true
      last = object["epoch"]?.number.map { Position(epoch: $0, seq: 0) }
    case ("live", _), ("replay", _):
      if let epoch = object["epoch"]?.number { show(Position(epoch: epoch, seq: seq), line) }
    default: break
    }
  }

  private mutating func show(_ place: Position, _ line: String) {
    let event = "{" + line.drop { $0 != "," }.dropFirst()
    if shown[place] == event { doubled += 1 }
    let follows = place.epoch == last?.epoch && place.seq == (last?.seq ?? 0) + 1
    if !follows, !(isAnew && last == nil) { blame("\(place) behind \(String(describing: last))") }
    shown[place] = event
    last = place
    isAnew = false
  }

  private mutating func blame(_ text: String) {
    wrong += 1
    remarks.append(text)
  }

  private mutating func compare(_ truth: [Position: String]) {
    let lastEpoch = truth.keys.map(\.epoch).max()
    // The last that was shown of each epoch.
    let ends = Dictionary(shown.keys.map { ($0.epoch, $0.seq) }, uniquingKeysWith: max)
    for (place, event) in shown {
      if truth[place] == event { seen += 1 } else { blame("untrue: \(event)") }
    }
    for place in truth.keys where shown[place] == nil {
      if told.contains(place) {
        gaps += 1
      } else if place.epoch != lastEpoch, place.seq > ends[place.epoch] ?? 0 {
        lostWithData += 1
      } else {
        missed += 1
        remarks.append("missed: \(place)")
      }
    }
  }
}
