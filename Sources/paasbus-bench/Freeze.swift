import Foundation
import Presence
import TestSupport

/// What it costs a server that stood still to be looked at by all whose lease is over.
extension Bench {
  /// For how long the looks are counted, in seconds.
  private static let aftermath = 15.0
  /// What a question of its own costs the server besides its command, in seconds: reading, writing.
  private static let question = 35e-6

  func freeze(_ count: Int) async throws -> [Row] {
    try await server.command("FLUSHALL")
    let audience = Audience(count: 1, connector: link.connector)
    try await audience.begin()
    var fleet = AnnouncerFleet()
    await start(&fleet, count)
    let before = try await lookCost()
    server.freeze()
    try await Task.sleep(for: .seconds(20))
    server.thaw()
    try await Task.sleep(for: .seconds(Self.aftermath))
    let after = try await lookCost()
    let lost = audience.count(of: .lost)
    try await fleet.end()
    await audience.end()
    let name = "fleet of \(count), server frozen for 20 s"
    let seconds =
      after.seconds - before.seconds + Double(after.questions - before.questions) * Self.question
    return [
      Row(
        what: "\(name): the announcers' looks at each other, Redis' CPU in the 15 s behind it",
        own: Samples("%", [seconds * 100 / Self.aftermath])),
      Row(what: "\(name): declared lost", own: Samples("", [Double(lost)])),
    ]
  }

  /// What looks have cost so far: their commands, and how many questions they were beside the beats.
  private func lookCost() async throws -> (seconds: Double, questions: Int) {
    var text = ""
    // For a while after a freeze there is no room in the queue of connections.
    try await eventually("there is room for a question", within: .seconds(60)) {
      text = try await server.command("INFO", "commandstats").string ?? ""
      return !text.isEmpty
    }
    var (seconds, calls) = (0.0, [String: Int]())
    for line in text.split(whereSeparator: \.isNewline) where line.hasPrefix("cmdstat_") {
      let name = String(line.dropFirst(8).prefix { $0 != ":" })
      let values = line.split(separator: ":").last?.split(separator: ",") ?? []
      func value(_ name: String) -> Double {
        let value = values.first { $0.hasPrefix("\(name)=") }
        return value.flatMap { Double($0.dropFirst(name.count + 1)) } ?? 0
      }
      calls[name] = Int(value("calls"))
      if ["zrangebyscore", "zrange", "hmget", "zscore"].contains(name) {
        seconds += value("usec") / 1e6
      }
    }
    // A beat's look is in one write with the beat, which alone asks for the bus.
    let own = (calls["zrangebyscore"] ?? 0) - (calls["exists"] ?? 0)
    return (seconds, max(0, own) + (calls["zrange"] ?? 0))
  }
}
