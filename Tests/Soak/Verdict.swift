import Foundation
import Presence
import TestSupport

/// Compares what every watcher printed with what was true, and the truth with what was really done.
struct Verdict: SoakVerdict {
  private let truth: [Position: String]
  private let members: [Fleet.Member]
  private let faults: [Faults.Record]
  private let readings: [Reading]
  private var falseDeaths: [String] = []
  private var unseenEnds: [String] = []
  private var repeated: [String] = []
  private var lossDelays: [Double] = []
  private var stopDelays: [Double] = []

  init(
    truth: [Position: String], members: [Fleet.Member], watches: [ManagedProcess],
    faults: [Faults.Record]
  ) {
    self.truth = truth
    self.members = members
    self.faults = faults
    readings = watches.map { Reading(of: $0.lines, truth: truth) }
    var events: [String: [[String: JSONValue]]] = [:]
    for (_, text) in truth.sorted(by: { $0.key < $1.key }) {
      guard let event = Reading.object(text), case .string(let name)? = event["name"] else {
        continue
      }
      events[name, default: []].append(event)
    }
    for member in members { judge(member, events[member.name] ?? []) }
  }

  var isFine: Bool {
    falseDeaths.isEmpty && unseenEnds.isEmpty && repeated.isEmpty
      && readings.allSatisfy { $0.missed == 0 && $0.doubled == 0 && $0.wrong == 0 }
  }

  // MARK: What was done, and what the history says of it

  private mutating func judge(_ member: Fleet.Member, _ events: [[String: JSONValue]]) {
    let types = events.compactMap(\.["type"]?.text)
    let lost = types.count { $0 == "lost" }
    let began = types.contains("start") || types.contains("back")
    if types.count(where: { $0 == "stop" }) > 1 || types.count(where: { $0 == "start" }) > 1 {
      repeated.append(story(member, events))
    }
    switch member.end {
    case .living: unseenEnds.append(story(member, events))
    case .told(let time):
      // With 69 it said that the stop was not delivered; then the lease tells.
      let isUndelivered = member.status == 69
      if lost > member.freezes + (isUndelivered ? 1 : 0) {
        falseDeaths.append(story(member, events))
      }
      if began, !isUndelivered, types.last != "stop" { unseenEnds.append(story(member, events)) }
      if types.last == "stop" { note(time, events.last, in: &stopDelays) }
    case .killed(let time):
      let after = events.filter { ($0["at"]?.date ?? .distantPast) >= time }
      let ends = after.count { $0["type"]?.text == "lost" }
      if lost - ends > member.freezes { falseDeaths.append(story(member, events)) }
      if ends > 1 { repeated.append(story(member, events)) }
      // Where Redis lost its record, nobody can know that it is missing.
      let isForgotten = faults.contains { $0.losesData && $0.ended >= time - 10 }
      if began, ends == 0, !isForgotten { unseenEnds.append(story(member, events)) }
      if ends == 1 { note(time, after.last, in: &lossDelays) }
    }
  }

  /// What became of one, and the faults meanwhile, in seconds after its first event.
  private func story(_ member: Fleet.Member, _ events: [[String: JSONValue]]) -> String {
    let start = events.first?["at"]?.date ?? .now
    func after(_ time: Date?) -> String {
      time.map { "\((($0.timeIntervalSince(start)) * 100).rounded() / 100)" } ?? "?"
    }
    let shown = events.map { event in
      "\(event["type"]?.text ?? "?") \(event["reason"]?.text ?? "") \(after(event["at"]?.date))"
    }
    let end =
      switch member.end {
      case .living: "not ended"
      case .told(let time): "told \(after(time)), status \(member.status ?? -1)"
      case .killed(let time): "killed \(after(time))"
      }
    let near = faults.filter { $0.ended > start - 5 }.prefix(8).map {
      "\($0.fault) \(after($0.began))..\(after($0.ended))"
    }
    return "  \(member.name) (frozen \(member.freezes)): \(shown.joined(separator: ", ")); \(end)"
      + "\n    \(near.joined(separator: ", "))\n    \(member.process.errorOutput)"
  }

  /// Notes how long after a deed its event came, unless a fault was near.
  private func note(_ time: Date, _ event: [String: JSONValue]?, in delays: inout [Double]) {
    let isQuiet = !faults.contains { $0.began < time + 2.5 && time < $0.ended + 1 }
    guard isQuiet, let at = event?["at"]?.date else { return }
    delays.append(at.timeIntervalSince(time))
  }

  // MARK: Report

  var report: String {
    let told = members.count { if case .told = $0.end { true } else { false } }
    let expected = readings.reduce(0) { $0 + $1.expected }
    let counts = Dictionary(faults.map { ($0.fault.rawValue, 1) }, uniquingKeysWith: +)
    let kinds = counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    func total(_ count: KeyPath<Reading, Int>) -> Int {
      readings.reduce(0) { $0 + $1[keyPath: count] }
    }
    let trouble = [
      ("false deaths", falseDeaths), ("ends unseen", unseenEnds), ("said twice", repeated),
    ].filter { !$0.1.isEmpty }.map { "\($0.0):\n\($0.1.joined(separator: "\n"))\n" }
    return """
      instances \(members.count), stops \(told), kills \(members.count - told)
      faults \(faults.count): \(kinds.joined(separator: ", "))
      history: \(truth.count) events in \(Set(truth.keys.map(\.epoch)).count) epochs
      \(readings.count) watchers: events expected \(expected), seen \(total(\.seen)), \
      lost with the data \(total(\.lostWithData)), told as gaps \(total(\.gaps)), \
      lies retracted \(total(\.retracted))
      missed \(total(\.missed)), doubled \(total(\.doubled)), wrong \(total(\.wrong)), \
      false deaths \(falseDeaths.count), ends unseen \(unseenEnds.count)
      kill -9 to lost: \(summary(lossDelays)); kill -15 to stop: \(summary(stopDelays))
      \(trouble.joined())\(readings.flatMap(\.remarks).prefix(20).joined(separator: "\n"))
      """
  }

  private func summary(_ delays: [Double]) -> String {
    let sorted = delays.sorted()
    guard let longest = sorted.last else { return "none measured" }
    let median = sorted[sorted.count / 2]
    func text(_ seconds: Double) -> String { "\(Int((seconds * 1000).rounded())) ms" }
    return "median \(text(median)), longest \(text(longest)) of \(sorted.count)"
  }
}

extension JSONValue {
  var text: String? {
    if case .string(let text) = self { text } else { nil }
  }

  var number: Int64? {
    if case .number(let number) = self { number } else { nil }
  }

  /// A moment in ms since 1970; this machine's clock is the server's too.
  var date: Date? {
    number.map { Date(timeIntervalSince1970: Double($0) / 1000) }
  }
}
