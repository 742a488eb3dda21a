import Foundation
import PaasbusRedis
import TestSupport

extension Bench {
  /// A list of so many sessions of an Express app, beside what a person would do without it.
  func sessions(_ count: Int) async throws -> [Row] {
    try await fillSessions(count)
    let scan = link.redisCLI("--scan", "--pattern", "'sess:*'").joined(separator: " ")
    let read = link.redisCLI("MGET").joined(separator: " ")
    var (own, memory, slowest) = (Samples("ms"), Samples("MB"), Samples("ms"))
    var (peer, peerSlowest) = (Samples("ms"), Samples("ms"))
    for _ in 0..<max(3, runs / 4) {
      let result = try await timed([program, "sessions", "list", "--json"])
      own.add(result.usage.time)
      memory.values.append(result.usage.peakMemory)
      slowest.values.append(result.slowest)
      let other = try await timed(["sh", "-c", "\(scan) | xargs \(read)"])
      peer.add(other.usage.time)
      peerSlowest.values.append(other.slowest)
    }
    let name = "redis-cli --scan, MGET"
    return [
      Row(what: "\(count) sessions listed", own: own, peer: (name, peer)),
      Row(what: "\(count) sessions: peak memory", own: memory),
      Row(
        what: "\(count) sessions: Redis' longest command", own: slowest, peer: (name, peerSlowest)),
    ]
  }

  /// - Returns: also how long the longest of its commands kept the server busy, in ms.
  private func timed(_ words: [String]) async throws -> (usage: Child.Usage, slowest: Double) {
    try await server.command("CONFIG", "SET", "slowlog-log-slower-than", "100")
    try await server.command("SLOWLOG", "RESET")
    let usage = try await Child.lines(words, environment: environment).usage
    let entries = try await server.command("SLOWLOG", "GET", "128").elements
    return (usage, Double(entries.compactMap { $0.elements.at(2)?.integer }.max() ?? 0) / 1000)
  }

  private func fillSessions(_ count: Int) async throws {
    let script = """
      for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
        local id = string.format('%032d', number)
        redis.call('SET', 'sess:' .. id, string.format('{"cookie":{"originalMaxAge":3600000,'
          .. '"expires":"2026-11-27T20:53:36.645Z","httpOnly":true,"path":"/"},"user":{"id":"%d",'
          .. '"name":"Zoe","roles":["admin","editor"]},"views":12,"csrf":"%s"}', number, id),
          'EX', 3600)
      end
      """
    try await server.command("FLUSHALL")
    for first in stride(from: 1, through: count, by: 10_000) {
      try await server.command(
        "EVAL", script, "0", "\(first)", "\(min(first + 9999, count))")
    }
  }
}
