import Foundation
import PaasbusRedis
import Presence
import TestSupport

/// Much at once: live events, the history, the list.
extension Bench {
  private static let eventCount = 1_000_000

  /// Writes events in the server itself, as the scripts of transitions do, and publishes them.
  private func produce(_ numbers: ClosedRange<Int>, history: Bool, publishes: Bool) async throws {
    let keys = Keys(app: "default")
    let script = """
      local epoch = 1767646800000
      local first, count = tonumber(ARGV[1]), tonumber(ARGV[2])
      redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', first + count - 1, 'channel', 'instances',
        'history', 10000000)
      for seq = first, first + count - 1 do
        local kind = seq % 2 == 1 and 'start' or 'stop'
        local tail = seq % 2 == 1 and '' or ',"reason":"SIGTERM"'
        local event = string.format('{"v":1,"type":"%s","epoch":%d,"seq":%d,"at":%d,"app":"default",'
          .. '"id":"01KE8H0A00%016d","name":"web.%d","host":"b7c1","pid":4,"platform":"heroku",'
          .. '"release":"v42","region":"eu","started":%d,"lease":15000%s}', kind, epoch, seq,
          epoch + seq, math.floor((seq + 1) / 2), seq % 50, epoch, tail)
        if ARGV[3] == '1' then
          redis.call('XADD', KEYS[2], epoch .. '-' .. seq, 'event', event)
        end
        if ARGV[4] == '1' then redis.call('PUBLISH', 'instances', event) end
      end
      """
    try await link.connector.withConnection { connection in
      let batch = 2000
      for first in stride(from: numbers.lowerBound, through: numbers.upperBound, by: batch) {
        _ = try await connection.send(
          RedisCommand(
            "EVAL", script, "2", keys.bus, keys.events, "\(first)",
            "\(min(batch, numbers.upperBound - first + 1))",
            history ? "1" : "0", publishes ? "1" : "0"))
      }
    }
  }

  /// Waits until somebody listens.
  private func awaitListener() async throws {
    try await eventually("it listens") {
      try await server.command("PUBSUB", "NUMSUB", "instances").elements.at(1)?.integer ?? 0 > 0
    }
  }

  /// Who follows the events, and how many lines of each are awaited. Of redis-cli, which prints three
  /// for each event, a hundred events less are: it holds back the last.
  private func followers(on link: Link) -> [(name: String, words: [String], lines: Int)] {
    [
      ("redis-cli", link.redisCLI("SUBSCRIBE", "instances"), 3 * (Self.eventCount - 100)),
      ("--json", [program, "watch", "--json", "--app", "default"], Self.eventCount),
      ("text", [program, "watch", "--app", "default"], Self.eventCount),
    ]
  }

  func tail() async throws -> [Row] {
    try await server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
    let count = Self.eventCount
    var results: [String: (processor: Samples, memory: Samples)] = [:]
    for _ in 0..<3 {
      for (name, words, lines) in followers(on: link) {
        try await server.command("FLUSHALL")
        // Whoever comes to a bus that is there follows its messages from the first on.
        try await produce(1...1, history: true, publishes: false)
        let result = try await Child.lines(words, environment: environment, limit: lines) { _ in
          try await awaitListener()
          Task { try await produce(2...(count + 1), history: true, publishes: true) }
        }
        var known = results[name] ?? (Samples("s"), Samples("MB"))
        known.processor.values.append(result.usage.processor)
        known.memory.values.append(result.usage.peakMemory)
        results[name] = known
        if result.lines < lines { print("\(name) printed only \(result.lines) lines") }
        try await Task.sleep(for: .seconds(1))
      }
    }
    guard let peer = results["redis-cli"] else { return [] }
    return ["--json", "text"].flatMap { name -> [Row] in
      guard let own = results[name] else { return [] }
      return [
        Row(
          what: "tail, real Redis: CPU per million events, `watch` \(name)", own: own.processor,
          peer: ("redis-cli subscribe", peer.processor)),
        Row(
          what: "tail, real Redis: peak memory, `watch` \(name)", own: own.memory,
          peer: ("redis-cli subscribe", peer.memory)),
      ]
    }
  }

  /// Where a feed listens beside the server.
  private func feedLink() throws -> Link {
    switch link {
    case .unixSocket: .unixSocket(path: server.folder.appending(path: "feed.sock").path)
    case .loopback: .loopback(port: try RedisServer.freePort())
    }
  }

  func cannedTail() async throws -> [Row] {
    let count = Self.eventCount
    let feed = try Feed(at: feedLink(), count: count)
    defer { feed.close() }
    let variables =
      environment.filter { !$0.hasPrefix("PAASBUS_URL=") } + ["PAASBUS_URL=\(feed.link.url)"]
    var rates: [String: (rate: Samples, processor: Samples)] = [:]
    for _ in 0..<3 {
      for (name, words, lines) in followers(on: feed.link) {
        let result = try await Child.lines(words, environment: variables, limit: lines)
        var known = rates[name] ?? (Samples("events/s"), Samples("s"))
        known.rate.values.append(Double(count) / ((result.last - result.first) / .seconds(1)))
        known.processor.values.append(result.usage.processor)
        rates[name] = known
        if result.lines < lines { print("\(name) printed only \(result.lines) lines") }
      }
    }
    guard let peer = rates["redis-cli"] else { return [] }
    return ["--json", "text"].flatMap { name -> [Row] in
      guard let own = rates[name] else { return [] }
      return [
        Row(
          what: "tail, canned feed: rate of `watch` \(name)", own: own.rate,
          peer: ("redis-cli subscribe", peer.rate)),
        Row(
          what: "tail, canned feed: CPU per million, `watch` \(name)", own: own.processor,
          peer: ("redis-cli subscribe", peer.processor)),
      ]
    }
  }

  func replay() async throws -> [Row] {
    let count = Self.eventCount
    try await server.command("FLUSHALL")
    try await produce(1...count, history: true, publishes: false)
    let keys = Keys(app: "default")
    var times: [String: Samples] = [:]
    for _ in 0..<3 {
      for (name, words, lines) in [
        (
          "xrange", link.redisCLI("XRANGE", keys.events, "-", "+"), Int.max
        ),
        ("history", [program, "history", "--json", "--app", "default"], count),
        (
          "watch",
          [program, "watch", "--json", "--since", "all", "--app", "default", "--no-snapshot"],
          count
        ),
      ] {
        let begun = ContinuousClock.now
        let result = try await Child.lines(words, environment: environment, limit: lines)
        times[name, default: Samples("ms")].add(result.last - begun)
      }
    }
    guard let peer = times["xrange"] else { return [] }
    return [("history", "`history --json`"), ("watch", "`watch --since all --json`")].map {
      Row(
        what: "replay of a million events: \($1)", own: times[$0] ?? Samples("ms"),
        peer: ("redis-cli xrange", peer))
    }
  }

  func list(_ count: Int) async throws -> [Row] {
    try await fill(count)
    let keys = Keys(app: "default")
    var (own, memory) = (Samples("ms"), Samples("MB"))
    var (peer, peerMemory) = (Samples("ms"), Samples("MB"))
    for _ in 0..<(count > 10_000 ? 5 : runs) {
      let result = try await Child.lines(
        [program, "list", "--json", "--app", "default"], environment: environment)
      own.add(result.usage.time)
      memory.values.append(result.usage.peakMemory)
      let other = try await Child.lines(
        link.redisCLI("HGETALL", keys.instances), environment: environment)
      peer.add(other.usage.time)
      peerMemory.values.append(other.usage.peakMemory)
    }
    return [
      Row(what: "list of \(count)", own: own, peer: ("redis-cli hgetall", peer)),
      Row(
        what: "list of \(count): peak memory", own: memory,
        peer: ("redis-cli hgetall", peerMemory)),
    ]
  }

  /// Writes so many instances that are up.
  func fill(_ count: Int) async throws {
    let keys = Keys(app: "default")
    let script = """
      local now = redis.call('TIME')[1] * 1000
      redis.call('HSET', KEYS[1], 'epoch', now, 'seq', ARGV[1], 'channel', 'instances')
      for number = 1, tonumber(ARGV[1]) do
        local id = string.format('01KE8H0A00%016d', number)
        redis.call('HSET', KEYS[2], id, string.format('up %d {"app":"default","id":"%s",'
          .. '"name":"web.%d","host":"b7c1","pid":4,"platform":"heroku","release":"v42",'
          .. '"region":"eu","started":%d,"lease":300000}', number, id, number, now))
        redis.call('ZADD', KEYS[3], now + 300000, id)
      end
      """
    try await server.command("FLUSHALL")
    try await server.command(
      "EVAL", script, "3", keys.bus, keys.instances, keys.leases, "\(count)")
  }
}
