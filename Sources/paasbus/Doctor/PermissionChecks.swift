import Presence
import Redis

/// Tries each command that paasbus uses, and says which words of an ACL are missing.
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
    let watching = "watch and list do not work"
    return [
      Trial("TIME"), Trial("EXISTS", keys.bus), Trial("TYPE", keys.bus),
      Trial("HMGET", keys.bus, "epoch"), Trial("HEXISTS", keys.instances, ""),
      Trial("HGET", keys.instances, ""), Trial("HSET", keys.bus, "epoch", "0", "unpaired"),
      Trial("HDEL", keys.instances, ""), Trial("HGETALL", keys.leases),
      Trial("ZADD", keys.leases, "XX", "0", ""), Trial("ZREM", keys.leases, ""),
      Trial("ZSCORE", keys.leases, ""), Trial("ZRANGEBYSCORE", keys.leases, "1", "0"),
      Trial("ZREMRANGEBYSCORE", keys.leases, "1", "0"),
      Trial("XADD", keys.events, "0-0", "event", ""), Trial("XINFO", "STREAM", keys.events),
      Trial("EXPIRE", keys.bus, "not-a-number"), Trial("SCRIPT", "LOAD", "return 1"),
      Trial("EVALSHA", "0", "0"),
      Trial("PUBLISH", channel, ""),
      Trial("ZADD", Keys.apps, "XX", "0", "", loss: "readers need --app"),
      Trial("ZRANGE", Keys.apps, "1", "0", loss: watching),
      Trial("XRANGE", keys.events, "1", "0", loss: watching),
      Trial("XREVRANGE", keys.events, "0", "1", loss: watching),
      Trial("CLIENT", "SETNAME", "", loss: "a killed instance is only told by its lease"),
      Trial("CLIENT", "LIST", loss: "a killed instance is only told by its lease"),
    ]
  }

  /// - Throws: `RedisError` where the connection fails, what `tell` throws.
  func run(_ tell: (Finding) throws -> Void) async throws {
    var missing: [String] = []
    var losses: [String] = []
    // An empty transaction first, since what ends one cannot be queued in it.
    let empty = try await connection.pipeline(
      ["MULTI", "EXEC", "DISCARD"].map { RedisCommand($0) })
    for (word, reply) in zip(["+multi", "+exec"], empty) {
      guard case .error(let text) = reply, text.contains("NOPERM") else { continue }
      missing.append(word)
      losses.append("watch and list do not work")
    }
    let isQueued = !missing.contains("+multi")
    let trials = isQueued ? trials : trials.filter { $0.word != "+publish" }
    let frame = isQueued ? ["MULTI", "DISCARD"].map { RedisCommand($0) } : []
    let all = try await connection.pipeline(
      frame.prefix(1) + trials.map(\.command) + frame.suffix(1))
    let replies = all.dropFirst(frame.isEmpty ? 0 : 1)
    for (trial, reply) in zip(trials, replies) {
      // In a cluster the list of apps may be elsewhere; permissions are checked before that.
      guard case .error(let text) = reply, !text.hasPrefix("MOVED ") else { continue }
      if let trouble = trouble(text) {
        return try tell(trouble)
      }
      guard let word = missingWord(text, trial), !missing.contains(word) else { continue }
      missing.append(word)
      losses.append(trial.loss ?? "announce does not work")
    }
    try tell(finding(missing, losses))
  }

  private func finding(_ missing: [String], _ losses: [String]) -> Finding {
    guard !missing.isEmpty else {
      return .ok("permissions", "all that is needed, scripts included")
    }
    let remedy = "ACL SETUSER USER \(missing.joined(separator: " "))"
    let isFatal = losses.contains { $0.contains("does not work") || $0.contains("do not work") }
    let causes = losses.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
    let found = "missing \(missing.joined(separator: " ")) (\(causes.joined(separator: "; ")))"
    return isFatal
      ? .fail("permissions", found, remedy: remedy) : .warn("permissions", found, remedy: remedy)
  }

  /// The word of an ACL that is missing, or nil where the command may be used.
  private func missingWord(_ text: String, _ trial: Trial) -> String? {
    if text.hasPrefix("NOPERM") {
      if text.contains("key") { return "~paasbus:*" }
      if text.contains("channel") { return "&\(setup.channel ?? Watcher.defaultChannel)" }
      return trial.word
    }
    return text.contains("unknown command") || text.contains("unknown subcommand")
      ? trial.word : nil
  }

  /// A server that takes no writes at all, or no scripts.
  private func trouble(_ text: String) -> Finding? {
    let error = RedisError.server(text)
    if error.kind == .passing || error.kind == .elsewhere {
      return .fail("writes", error.problem, remedy: error.remedy)
    }
    if text.lowercased().contains("unknown command"), text.lowercased().contains("eval") {
      return .fail(
        "scripts", "this server knows no scripts (EVAL)",
        remedy: "take a Redis or Valkey with Lua; paasbus changes nothing without it")
    }
    return nil
  }
}
