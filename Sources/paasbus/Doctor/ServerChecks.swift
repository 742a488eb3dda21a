import PaasbusRedis
import Presence

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the server is, and whether it is fit for use.
struct ServerChecks {
  let connection: RedisConnection
  let connector: RedisConnector

  /// - Throws: `RedisError` where the connection fails, what `tell` throws.
  func run(_ tell: (Finding) throws -> Void) async throws {
    // INFO is sent on a connection of its own, since a server that does not know INFO may end the
    // connection.
    let reply = try? await connector.withConnection { connection in
      try await connection.pipeline([RedisCommand("INFO")]).first
    }
    if let text = reply?.string, !text.isEmpty {
      let facts = ServerFacts(text)
      try tell(server(facts))
      try tell(clients(facts))
      try tell(memory(facts))
    } else {
      try tell(silence(reply))
    }
    try tell(try await roundTrip())
    if let clock = try await clock() { try tell(clock) }
  }

  /// What it means that INFO has no answer.
  private func silence(_ reply: RedisValue?) -> Finding {
    if case .error(let text) = reply, RedisError.server(text).kind == .refused {
      return .warn(
        "server", "unknown: INFO is refused",
        remedy: "permit +info to see its role, memory and connections here")
    }
    return .warn(
      "server", "unknown: it does not know INFO",
      remedy: "paasbus does not need it; doctor cannot show the role, memory and connections")
  }

  private func server(_ facts: ServerFacts) -> Finding {
    let version = facts["redis_version"] ?? "of an unknown version"
    let name = facts["valkey_version"].map { "Valkey \($0)" } ?? "Redis \(version)"
    if facts["role"] == "slave" {
      let master = "\(facts["master_host"] ?? "?"):\(facts["master_port"] ?? "?")"
      return .fail(
        "server", "\(name), a replica of \(master), which takes no writes",
        remedy: "use the master's address")
    }
    if let major = version.split(separator: ".").first.flatMap({ Int($0) }), major < 5 {
      return .fail(
        "server", "\(name) has no streams, which paasbus needs",
        remedy: "use Redis 5 or later, or any Valkey")
    }
    let mode = facts["redis_mode"].map { $0 == "standalone" ? "" : ", a \($0)" } ?? ""
    return .ok("server", "\(name)\(mode), a master")
  }

  private func clients(_ facts: ServerFacts) -> Finding {
    guard let used = facts.number("connected_clients"), let most = facts.number("maxclients") else {
      return .ok("clients", "unknown limit")
    }
    let text = "\(used) of \(most) connections in use"
    guard most - used < max(3, most / 10) else { return .ok("clients", text) }
    return .warn(
      "clients", "\(text); an announcer needs 1, a watcher 2",
      remedy: "close other clients, raise maxclients, or get a larger plan")
  }

  private func memory(_ facts: ServerFacts) -> Finding {
    guard let used = facts.number("used_memory"), let most = facts.number("maxmemory"), most > 0
    else { return .ok("memory", "no limit") }
    let policy = facts["maxmemory_policy"] ?? "unknown"
    let text = "\(used / 1024) of \(most / 1024) KiB in use, \(policy)"
    guard policy == "noeviction" else {
      return .warn(
        "memory", "\(text): keys may be evicted; instances register again within one heartbeat",
        remedy: "set maxmemory-policy noeviction, or keep enough memory free")
    }
    guard used >= most else { return .ok("memory", text) }
    return .fail(
      "memory", "\(text): full, nothing can be announced",
      remedy: "free some, or raise maxmemory")
  }

  private func roundTrip() async throws -> Finding {
    var times: [Duration] = []
    for _ in 0..<5 {
      let begun = ContinuousClock.now
      _ = try await connection.pipeline([RedisCommand("PING")])
      times.append(.now - begun)
    }
    let median = times.sorted()[times.count / 2]
    let text = "\(Examination.milliseconds(median)) (the median of 5)"
    guard median > .milliseconds(250) else { return .ok("round trip", text) }
    return .warn("round trip", text, remedy: "use a Redis nearer to the app")
  }

  /// How far this machine's clock is from the server's; nil where the server does not tell its
  /// time.
  private func clock() async throws -> Finding? {
    let reply = try await connection.pipeline([RedisCommand("TIME")]).first ?? .null
    guard let whole = reply.elements.first?.integer,
      let micros = reply.elements.at(1)?.integer
    else { return nil }
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let own = Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    let skew = own - Double(whole) - Double(micros) / 1e6
    guard abs(skew) > 1 else { return .ok("clock", "within 1 s of the server's clock") }
    let seconds = Int(abs(skew).rounded())
    return .warn(
      "clock", "this machine's clock is \(seconds) s \(skew > 0 ? "ahead" : "behind")",
      remedy: "paasbus uses the server's time; set the clock for your logs")
  }
}

/// What `INFO` tells, by name.
struct ServerFacts {
  private var values: [Substring: Substring] = [:]

  init(_ text: String) {
    for line in text.split(whereSeparator: \.isNewline) {
      guard let colon = line.firstIndex(of: ":") else { continue }
      values[line[..<colon]] = line[line.index(after: colon)...]
    }
  }

  subscript(name: String) -> String? { values[name[...]].map(String.init) }

  func number(_ name: String) -> Int64? { self[name].flatMap { Int64($0) } }

  /// The numbers of the databases that hold keys.
  var databases: [Int] {
    values.keys.filter { $0.hasPrefix("db") }.compactMap { Int($0.dropFirst(2)) }.sorted()
  }
}
