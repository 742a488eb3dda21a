import PaasbusRedis
import Presence

/// Tries each command that paasbus uses, and says which the server does not have, and which words of an ACL
/// are missing.
///
/// A server checks permissions when a command is queued in a transaction, so all are queued and never
/// carried out. Where transactions are refused, what cannot succeed still shows by how it fails whether it
/// may be used.
struct PermissionChecks {
  let connector: RedisConnector
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
    /// Whether its key is the list of apps.
    var isOfApps: Bool { command.arguments.at(1) == Array(Keys.apps.utf8) }
    /// Whether it names a key, which a user must be permitted.
    var hasKey: Bool {
      command.arguments.dropFirst().contains { $0.starts(with: Array("paasbus:".utf8)) }
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
    return [
      Trial("TIME", loss: Self.everything), Trial("EXISTS", keys.bus), Trial("TYPE", keys.bus),
      Trial("HMGET", keys.bus, "epoch", loss: Self.everything),
      Trial("HEXISTS", keys.instances, ""),
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
      Trial("ZRANGE", keys.leases, "1", "0", loss: Self.watching),
      Trial("ZRANGE", Keys.apps, "1", "0", loss: "readers need --app"),
      Trial("XRANGE", keys.events, "1", "0", loss: "watch and history do not work"),
      Trial("XREVRANGE", keys.events, "0", "1", loss: "watch and history -n do not work"),
      Trial("CLIENT", "SETNAME", "", loss: "a killed instance is only told by its lease"),
      Trial("CLIENT", "LIST", loss: "a killed instance is only told by its lease"),
    ]
  }

  /// - Returns: whether a bus can be read.
  /// - Throws: `RedisError` where the connection fails, what `tell` throws.
  func run(_ tell: (Finding) throws -> Void) async throws -> Bool {
    // An empty transaction first, since what ends one cannot be queued in it.
    let frame = [Trial("MULTI", loss: Self.watching), Trial("EXEC", loss: Self.watching)]
    var lacks = zip(frame, try await ask(frame)).compactMap { lack($0, $1) }
    let isQueued = !lacks.contains { $0.trial.name == "MULTI" }
    let trials = isQueued ? trials : trials.filter { $0.name != "PUBLISH" }
    for (trial, reply) in zip(trials, try await ask(trials, isQueued: isQueued)) {
      if case .error(let text)? = reply {
        // In a cluster the list of apps may be elsewhere; permissions are checked before that.
        if text.hasPrefix("MOVED ") { continue }
        let error = RedisError(.reply(ErrorReply(text)))
        if error.kind == .unavailable || error.kind == .wrongServer {
          try tell(.fail("writes", error))
          return true
        }
      }
      if let lack = lack(trial, reply) { lacks.append(lack) }
    }
    return try report(lacks, tell)
  }

  /// The replies to the trials, none of which is carried out where they are queued; nil for one at which
  /// the server ends the connection, for which each is tried by itself.
  private func ask(_ trials: [Trial], isQueued: Bool = false) async throws -> [RedisValue?] {
    let front = isQueued ? [RedisCommand("MULTI")] : []
    do {
      return try await connector.withConnection {
        try await $0.pipeline(front + trials.map(\.command)).dropFirst(front.count).map { $0 }
      }
    } catch let error as RedisError {
      guard case .closedAsked = error.cause else { throw error }
      guard trials.count > 1 else { return [nil] }
      var replies: [RedisValue?] = []
      for trial in trials { replies += try await ask([trial], isQueued: isQueued) }
      return replies
    }
  }

  /// - Returns: whether a bus can be read.
  private func report(_ all: [Lack], _ tell: (Finding) throws -> Void) throws -> Bool {
    var lacks = all
    let scripting = lacks.filter { ["SCRIPT", "EVALSHA", "EVAL"].contains($0.trial.name) }
    if scripting.count == 3, scripting.allSatisfy({ $0.kind.word == nil }) {
      try tell(
        .fail(
          "scripts", "this server knows no scripts (EVAL)",
          remedy: "use a Redis or Valkey with Lua, which paasbus needs"))
      return false
    }
    // A script that cannot be loaded, or run by its digest, is run by its text.
    let canSendText = !scripting.contains { $0.trial.name == "EVAL" }
    lacks.removeAll { lack in
      switch lack.trial.name {
      case "EVAL": true
      case "SCRIPT": canSendText
      case "EVALSHA": canSendText && lack.kind == .unknown
      default: false
      }
    }
    let unknown = lacks.filter { $0.kind == .unknown }
    let closing = lacks.filter { $0.kind == .endsConnection }
    let refused = lacks.filter { $0.kind.word != nil }
    if !unknown.isEmpty {
      try tell(
        unavailable(
          unknown, "the server does not know",
          remedy: "allow it in the server's configuration (rename-command), or use another server")
      )
    }
    if !closing.isEmpty {
      try tell(
        unavailable(
          closing, "the server closes the connection at",
          remedy:
            "check whether it and any proxy in front of it know this command, or use another server"
        ))
    }
    if !refused.isEmpty || lacks.isEmpty { try tell(permissions(refused)) }
    return !lacks.contains { $0.loss == Self.watching || $0.loss == Self.everything }
  }

  private static let announcing = "announce does not work"
  private static let watching = "watch and list do not work"
  private static let everything = "announce, watch and list do not work"

  /// What cannot be used, and why.
  private struct Lack {
    enum Kind: Equatable {
      /// A word of an ACL is missing.
      case refused(word: String)
      /// The server has no such command.
      case unknown
      case endsConnection

      var word: String? {
        if case .refused(let word) = self { word } else { nil }
      }
    }

    let trial: Trial
    let kind: Kind

    var loss: String { trial.loss ?? PermissionChecks.announcing }
    var isFatal: Bool { loss.contains("not work") }
  }

  private func lack(_ trial: Trial, _ reply: RedisValue?) -> Lack? {
    guard let reply else { return Lack(trial: trial, kind: .endsConnection) }
    guard case .error(let text) = reply else { return nil }
    if text.contains("unknown command") || text.contains("unknown subcommand") {
      return Lack(trial: trial, kind: .unknown)
    }
    guard text.contains("NOPERM") else { return nil }
    let word =
      text.contains("key")
      ? (trial.isOfApps ? Self.appsKey : Self.allKeys)
      : text.contains("channel") ? channelPattern : trial.word
    return Lack(trial: trial, kind: .refused(word: word))
  }

  private func unavailable(_ lacks: [Lack], _ problem: String, remedy: String) -> Finding {
    let names = unique(lacks.map(\.trial.name)).joined(separator: ", ")
    let found = "\(problem) \(names) (\(losses(lacks)))"
    return lacks.contains(where: \.isFatal)
      ? .fail("commands", found, remedy: remedy) : .warn("commands", found, remedy: remedy)
  }

  private func permissions(_ lacks: [Lack]) -> Finding {
    guard !lacks.isEmpty else { return .ok("permissions", "complete, including scripts") }
    var missing = unique(lacks.compactMap(\.kind.word))
    if missing.contains(Self.allKeys) { missing.removeAll { $0 == Self.appsKey } }
    let words = missing.joined(separator: " ")
    let found = "missing \(words) (\(losses(lacks)))"
    let patterns = unknownPatterns(lacks)
    // Redis refuses a pattern for a user who has all of them, and with it the whole command.
    let more =
      patterns.isEmpty
      ? "" : ", and ACL SETUSER \(user) \(patterns.joined(separator: " ")) unless it has all"
    // It was not tried where it could not be queued, and a command more does no harm.
    let untried = missing.contains("+multi") && !missing.contains("+publish") ? " +publish" : ""
    let remedy = "ACL SETUSER \(user) \(words)\(untried)\(more)"
    return lacks.contains(where: \.isFatal)
      ? .fail("permissions", found, remedy: remedy) : .warn("permissions", found, remedy: remedy)
  }

  private static let allKeys = "~paasbus:*"
  private static let appsKey = "~\(Keys.apps)"
  private var channelPattern: String { "&\(setup.channel ?? Watcher.defaultChannel)" }

  /// Keys and channels of which the server's answers say nothing, as it looks at the command first: where every
  /// command that has some was refused.
  private func unknownPatterns(_ lacks: [Lack]) -> [String] {
    let refused = Set(lacks.filter { $0.kind.word?.hasPrefix("+") == true }.map(\.trial.name))
    let isAllRefused = trials.filter(\.hasKey).allSatisfy { refused.contains($0.name) }
    let isChannelUnknown = refused.contains("PUBLISH") || refused.contains("MULTI")
    return (isAllRefused ? [Self.allKeys] : []) + (isChannelUnknown ? [channelPattern] : [])
  }

  /// Everything that a user needs who is refused even the first question.
  static func wholeRemedy(app: String, setup: Setup, connector: RedisConnector) -> String {
    let checks = PermissionChecks(connector: connector, app: app, setup: setup)
    let words = checks.unique(
      ["+ping", "+subscribe"] + [Trial("MULTI"), Trial("EXEC")].map(\.word)
        + checks.trials.map(\.word))
    return "ACL SETUSER \(checks.user) \(words.joined(separator: " ")), and ACL SETUSER "
      + "\(checks.user) \(allKeys) \(checks.channelPattern) unless it has all"
  }

  /// Who it is that the words are for.
  private var user: String { connector.endpoint.username ?? "default" }

  /// What is lost, each once; what does not work at all says it also for its parts.
  private func losses(_ lacks: [Lack]) -> String {
    var losses = unique(lacks.map(\.loss))
    if losses.contains(Self.everything) {
      losses.removeAll { $0 == Self.watching || $0 == Self.announcing }
    }
    return losses.joined(separator: "; ")
  }

  private func unique(_ texts: [String]) -> [String] {
    texts.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
