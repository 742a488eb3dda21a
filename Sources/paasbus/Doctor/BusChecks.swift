import PaasbusRedis
import Presence
import Views

/// Checks whether messages are delivered, and what else uses the bus.
struct BusChecks {
  let connection: RedisConnection
  let connector: RedisConnector
  let setup: Setup

  /// - Parameter readsBus: whether the server lets us read the bus.
  /// - Throws: `RedisError` where the connection fails, what `tell` throws.
  func run(readsBus: Bool, _ tell: (Finding) throws -> Void) async throws {
    try tell(try await message())
    guard readsBus else { return }
    let apps = try await connector.routed(to: Keys.apps).withConnection {
      let list = try await $0.pipeline([RedisCommand("ZRANGE", Keys.apps, "0", "-1")]).first
      return (list?.elements ?? []).compactMap(\.string).sorted()
    }
    guard let app = setup.app ?? (apps.count == 1 ? apps.first : nil) else {
      return try tell(try await nobody(apps))
    }
    do {
      let snapshot = try await connector.routed(to: Keys(app: app).bus).withConnection {
        try await Snapshot.read(keys: Keys(app: app), on: $0)
      }
      try tell(try await bus(app, snapshot, apps))
      try tell(try await subscribers(snapshot))
    } catch let error as RedisError where error.kind == .refused {
      try tell(.fail("bus", error))
    }
  }

  // MARK: A message

  /// Publishes a message and waits until it is delivered back. It uses another channel than the
  /// bus, so that no watcher is disturbed. Where only the bus's channel is permitted, it uses that
  /// one and publishes the last event, which watchers already know.
  private func message() async throws -> Finding {
    let own = setup.channel ?? Watcher.defaultChannel
    var refusal: RedisError?
    for channel in ["\(own):doctor", own] {
      do {
        let payload = channel == own ? await lastEvent() : Array(setup.bootID.utf8)
        return try await round(channel, payload)
      } catch let error as RedisError where error.kind == .refused {
        refusal = error
      }
    }
    let word =
      switch refusal?.cause {
      case .reply(let reply):
        if case .permissionMissing(let command?) = reply.meaning {
          "+\(command)"
        } else {
          "&\(own)"
        }
      default: "&\(own)"
      }
    return .fail(
      "message",
      "subscribing or publishing is refused (\(refusal.map { Failure($0).problem } ?? "?"))",
      remedy: "ACL SETUSER \(connector.endpoint.user) \(word)")
  }

  private func round(_ channel: String, _ payload: [UInt8]) async throws -> Finding {
    try await connector.withSubscription(to: [channel]) { subscription in
      let begun = ContinuousClock.now
      let count = try await connection.send(
        RedisCommand(arguments: [Array("PUBLISH".utf8), Array(channel.utf8), payload]))
      waiting: while true {
        switch await subscription.next(within: connector.timeout) {
        case .messages(let batch):
          guard batch.contains(where: { $0.payload == payload[...] }) else { continue }
          return .ok("message", "delivered in \(Examination.milliseconds(.now - begun))")
        case .timeOut, .cancelled: break waiting
        case .ended(let error): throw error
        }
      }
      return .fail(
        "message",
        "published to \(Views.count(count.integer ?? 0, "subscriber")), but not delivered back",
        remedy: "check whether any proxy in between supports Pub/Sub")
    }
  }

  private func lastEvent() async -> [UInt8] {
    let keys = Keys(app: setup.app ?? "default")
    let newest = RedisCommand("XREVRANGE", keys.events, "+", "-", "COUNT", "1")
    let reply = try? await connection.send(newest)
    return reply?.elements.first.flatMap(HistoryEntry.init).map { Array($0.bytes) }
      ?? Array("paasbus doctor".utf8)
  }

  // MARK: The bus

  private func nobody(_ apps: [String]) async throws -> Finding {
    guard apps.isEmpty else {
      return .warn(
        "bus", "several apps use this Redis: \(apps.joined(separator: ", "))",
        remedy: "choose one with --app or PAASBUS_APP")
    }
    if let other = try await otherDatabase() { return other }
    return .warn(
      "bus", "no instance has announced itself on this Redis",
      remedy: "run 'paasbus announce' with the same URL, or run doctor where the app runs")
  }

  /// Looks for apps that use another database of the same server; nil where none is found.
  private func otherDatabase() async throws -> Finding? {
    let reply = try? await connector.withConnection { connection in
      try await connection.pipeline([RedisCommand("INFO", "keyspace")]).first
    }
    let own = connector.endpoint.database
    for database in ServerFacts(reply?.string ?? "").databases where database != own {
      var other = connector
      other.endpoint.database = database
      let list = try? await other.withConnection {
        try await $0.send(RedisCommand("ZRANGE", Keys.apps, "0", "-1"))
      }
      let apps = (list?.elements ?? []).compactMap(\.string)
      guard !apps.isEmpty else { continue }
      return .fail(
        "bus",
        "no app uses database \(own), but \(apps.joined(separator: ", ")) uses database \(database)",
        remedy: "end the URL with /\(database), here or there")
    }
    return nil
  }

  private func bus(_ app: String, _ snapshot: Snapshot, _ apps: [String]) async throws -> Finding {
    if let own = snapshot.channel, let asked = setup.channel, own != asked {
      return .fail(
        "bus", "\(app) uses the channel \(own), and \(asked) was asked for",
        remedy: "remove --channel and PAASBUS_CHANNEL, or use the same value everywhere")
    }
    let present = snapshot.instances.filter(\.isPresent).count
    if present > 0 {
      return .ok(
        "bus", "\(app), channel \(snapshot.channel ?? "?"), \(count(present, "instance")) present")
    }
    if snapshot.position == nil, let other = try await otherDatabase() { return other }
    let others = apps.filter { $0 != app }
    let hint = others.isEmpty ? "" : "; other buses: \(others.joined(separator: ", "))"
    return .warn(
      "bus", "no instance is on the bus \(app)\(hint)",
      remedy: "run 'paasbus announce' with the same URL and the same --app")
  }

  private func subscribers(_ snapshot: Snapshot) async throws -> Finding {
    let channel = snapshot.channel ?? setup.channel ?? Watcher.defaultChannel
    let reply = try await connection.pipeline([RedisCommand("PUBSUB", "NUMSUB", channel)]).first
    guard let count = reply?.elements.at(1)?.integer else {
      return .ok("subscribers", "unknown number on \(channel)")
    }
    guard count == 0 else { return .ok("subscribers", "\(count) on \(channel)") }
    let all = try await connection.pipeline([RedisCommand("PUBSUB", "CHANNELS")]).first
    let others = (all?.elements ?? []).compactMap(\.string).filter { !$0.hasSuffix(":doctor") }
    guard !others.isEmpty else {
      return .ok("subscribers", "none on \(channel) now")
    }
    return .warn(
      "subscribers", "none on \(channel), but on \(others.joined(separator: ", "))",
      remedy: "let watchers use the channel of the bus: remove --channel and PAASBUS_CHANNEL")
  }
}
