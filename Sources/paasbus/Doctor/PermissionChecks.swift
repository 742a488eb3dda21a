import PaasbusRedis
import Presence

/// Tries each command that paasbus uses, and says which the server does not have, and which words of an ACL
/// are missing.
///
/// A server checks permissions when a command is queued in a transaction, so all are queued and then
/// discarded; nothing is carried out. Where transactions are refused, what cannot succeed still shows
/// by how it fails whether it may be used.
struct PermissionChecks {
  let connection: RedisConnection
  let app: String
  let setup: Setup

  private struct Trial {
    var command: RedisCommand
    /// What is lost without it; nil where nothing works.
    var loss: String?

    init(_ words: String..., loss: String? = nil) {
      command = RedisCommand(words)
      self.loss = loss
    }

    var name: String { command.name }

    /// The word of an ACL that permits it (`+client|list`).
    var word: String {
      let words = command.arguments.prefix(2).map {
        String(decoding: $0, as: UTF8.self).lowercased()
      }
      let hasParts = ["client", "script", "xinfo", "cluster"].contains(words.first ?? "")
      return "+" + (hasParts ? words.joined(separator: "|") : words.first ?? "")
    }
  }

  private var keys: Keys { Keys(app: app) }

  private var trials: [Trial] {
    let (keys, channel) = (keys, setup.channel ?? Watcher.defaultChannel)
    return [
      Trial("TIME"), Trial("EXISTS", keys.bus), Trial("TYPE", keys.bus),
      Trial("HMGET", keys.bus, "epoch"), Trial("HEXISTS", keys.instances, ""),
      Trial("HGET", keys.instances, ""), Trial("HSET", keys.bus, "epoch", "0", "unpaired"),
      Trial("HDEL", keys.instances, ""), Trial("HGETALL", keys.leases, loss: Self.watching),
      Trial("ZADD", keys.leases, "XX", "0", ""), Trial("ZREM", keys.leases, ""),
      Trial("ZSCORE", keys.leases, ""), Trial("ZRANGEBYSCORE", keys.leases, "1", "0"),
      Trial("ZREMRANGEBYSCORE", keys.leases, "1", "0"),
      Trial("XADD", keys.events, "0-0", "event", ""),
      Trial(
        "XINFO", "STREAM", keys.events,
        loss: "a bus that lost its hash alone may use the same numbers again"),
      Trial("EXPIRE", keys.bus, "not-a-number"), Trial("SCRIPT", "LOAD", "return 1"),
      Trial("EVALSHA", "0", "0"), Trial("EVAL", "return 1", "0"),
      Trial("PUBLISH", channel, ""),
      Trial("ZADD", Keys.apps, "XX", "0", "", loss: "readers need --app"),
      Trial("ZRANGE", Keys.apps, "1", "0", loss: Self.watching),
      Trial("XRANGE", keys.events, "1", "0", loss: "watch and history do not work"),
      Trial("XREVRANGE", keys.events, "0", "1", loss: "history does not work"),
      Trial("CLIENT", "SETNAME", "", loss: "a killed instance is only told by its lease"),
      Trial("CLIENT", "LIST", loss: "a killed instance is only told by its lease"),
    ]
  }

  /// - Throws: `RedisError` where the connection fails, what `tell` throws.
  func run(_ tell: (Finding) throws -> Void) async throws {
    // An empty transaction first, since what ends one cannot be queued in it.
    let frame = [Trial("MULTI", loss: Self.watching), Trial("EXEC", loss: Self.watching)]
    let empty = try await connection.pipeline(
      frame.map(\.command) + [RedisCommand("DISCARD")])
    var lacks = zip(frame, empty).compactMap { lack($0, $1) }
    let isQueued = !lacks.contains { $0.trial.name == "MULTI" }
    let trials = isQueued ? trials : trials.filter { $0.name != "PUBLISH" }
    let ends = isQueued ? ["MULTI", "DISCARD"].map { RedisCommand($0) } : []
    let all = try await connection.pipeline(
      ends.prefix(1) + trials.map(\.command) + ends.suffix(1))
    for (trial, reply) in zip(trials, all.dropFirst(ends.prefix(1).count)) {
      // In a cluster the list of apps may be elsewhere; permissions are checked before that.
      guard case .error(let text) = reply, !text.hasPrefix("MOVED ") else { continue }
      let error = RedisError(.reply(ErrorReply(text)))
      if error.kind == .passing || error.kind == .elsewhere {
        return try tell(.fail("writes", error))
      }
      if let lack = lack(trial, reply) { lacks.append(lack) }
    }
    let scripting = lacks.filter { ["SCRIPT", "EVALSHA", "EVAL"].contains($0.trial.name) }
    if scripting.count == 3, scripting.allSatisfy({ $0.word == nil }) {
      return try tell(
        .fail(
          "scripts", "this server knows no scripts (EVAL)",
          remedy: "take a Redis or Valkey with Lua; paasbus changes nothing without it"))
    }
    // A script that cannot be loaded, or run by its digest, is run by its text.
    let canSendText = !scripting.contains { $0.trial.name == "EVAL" }
    lacks.removeAll { lack in
      switch lack.trial.name {
      case "EVAL": true
      case "SCRIPT": canSendText
      case "EVALSHA": canSendText && lack.word == nil
      default: false
      }
    }
    let (refused, unknown) = (lacks.filter { $0.word != nil }, lacks.filter { $0.word == nil })
    if !unknown.isEmpty { try tell(unavailable(unknown)) }
    if !refused.isEmpty || unknown.isEmpty { try tell(permissions(refused)) }
  }

  private static let watching = "watch and list do not work"

  /// What cannot be used.
  private struct Lack {
    let trial: Trial
    /// The word of an ACL that is missing; nil where the server has no such command.
    let word: String?

    var loss: String { trial.loss ?? "announce does not work" }
    var isFatal: Bool { loss.contains("not work") }
  }

  private func lack(_ trial: Trial, _ reply: RedisValue) -> Lack? {
    guard case .error(let text) = reply else { return nil }
    if text.contains("unknown command") || text.contains("unknown subcommand") {
      return Lack(trial: trial, word: nil)
    }
    guard text.contains("NOPERM") else { return nil }
    if text.contains("key") { return Lack(trial: trial, word: "~paasbus:*") }
    if text.contains("channel") {
      return Lack(trial: trial, word: "&\(setup.channel ?? Watcher.defaultChannel)")
    }
    return Lack(trial: trial, word: trial.word)
  }

  private func unavailable(_ lacks: [Lack]) -> Finding {
    let names = unique(lacks.map(\.trial.name)).joined(separator: ", ")
    let found = "the server does not know \(names) (\(losses(lacks)))"
    let remedy = "allow it in the server's configuration (rename-command), or take another server"
    return lacks.contains(where: \.isFatal)
      ? .fail("commands", found, remedy: remedy) : .warn("commands", found, remedy: remedy)
  }

  private func permissions(_ lacks: [Lack]) -> Finding {
    guard !lacks.isEmpty else { return .ok("permissions", "all that is needed, scripts included") }
    let words = unique(lacks.compactMap(\.word)).joined(separator: " ")
    let found = "missing \(words) (\(losses(lacks)))"
    let remedy = "ACL SETUSER USER \(words)"
    return lacks.contains(where: \.isFatal)
      ? .fail("permissions", found, remedy: remedy) : .warn("permissions", found, remedy: remedy)
  }

  private func losses(_ lacks: [Lack]) -> String {
    unique(lacks.map(\.loss)).joined(separator: "; ")
  }

  private func unique(_ texts: [String]) -> [String] {
    texts.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
