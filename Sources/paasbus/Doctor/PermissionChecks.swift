import PaasbusRedis
import Presence

/// Tries each command that paasbus uses, and says which the server does not have, and which words of an ACL
/// are missing.
///
/// A server checks permissions when it queues a command in a transaction, so all commands are
/// queued and never executed. Where transactions are refused, the commands are sent alone, in a
/// form that cannot succeed; the error still shows whether a command may be used.
struct PermissionChecks {
  let connector: RedisConnector
  let app: String
  let setup: Setup

  private var trials: [PermissionTrial] {
    PermissionTrial.all(keys: Keys(app: app), channel: channel)
  }
  private var channel: String { setup.channel ?? Watcher.defaultChannel }

  /// - Returns: whether a bus can be read.
  /// - Throws: `RedisError` where the connection fails, what `tell` throws.
  func run(_ tell: (Finding) throws -> Void) async throws -> Bool {
    // An empty transaction comes first, since EXEC, which ends a transaction, cannot be queued in
    // one.
    let frame = [
      PermissionTrial("MULTI", loss: .watching), PermissionTrial("EXEC", loss: .watching),
    ]
    var lacks = zip(frame, try await ask(frame)).compactMap { lack($0, $1) }
    let isQueued = !lacks.contains { $0.trial.name == "MULTI" }
    let trials = isQueued ? trials : trials.filter { $0.name != "PUBLISH" }
    for (trial, reply) in zip(trials, try await ask(trials, isQueued: isQueued)) {
      if case .error(let text)? = reply {
        // In a cluster the list of apps may be on another node. The server checks permissions
        // before it says so, so this command is permitted.
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

  /// The replies to the trials. Where they are queued, none of them is executed. The reply is nil
  /// for a trial at which the server ends the connection; to find it, each trial is then sent on a
  /// connection of its own.
  private func ask(_ trials: [PermissionTrial], isQueued: Bool = false) async throws
    -> [RedisValue?]
  {
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
  private func report(_ all: [PermissionLack], _ tell: (Finding) throws -> Void) throws -> Bool {
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
    return !lacks.contains { $0.loss == .watching || $0.loss == .everything }
  }

  private func lack(_ trial: PermissionTrial, _ reply: RedisValue?) -> PermissionLack? {
    guard let reply else { return PermissionLack(trial: trial, kind: .endsConnection) }
    guard case .error(let text) = reply else { return nil }
    if text.contains("unknown command") || text.contains("unknown subcommand") {
      return PermissionLack(trial: trial, kind: .unknown)
    }
    guard text.contains("NOPERM") else { return nil }
    let word =
      text.contains("key")
      ? (trial.isOfApps ? Self.appsKey : Self.allKeys)
      : text.contains("channel") ? channelPattern : trial.word
    return PermissionLack(trial: trial, kind: .refused(word: word))
  }

  private func unavailable(_ lacks: [PermissionLack], _ problem: String, remedy: String) -> Finding
  {
    let names = unique(lacks.map(\.trial.name)).joined(separator: ", ")
    let found = "\(problem) \(names) (\(losses(lacks)))"
    return lacks.contains(where: \.loss.isFatal)
      ? .fail("commands", found, remedy: remedy) : .warn("commands", found, remedy: remedy)
  }

  private func permissions(_ lacks: [PermissionLack]) -> Finding {
    guard !lacks.isEmpty else { return .ok("permissions", "complete, including scripts") }
    var missing = unique(lacks.compactMap(\.kind.word))
    if missing.contains(Self.allKeys) { missing.removeAll { $0 == Self.appsKey } }
    let words = missing.joined(separator: " ")
    let found = "missing \(words) (\(losses(lacks)))"
    let patterns = unknownPatterns(lacks)
    // Redis refuses to add a pattern to a user that already has all patterns, and then refuses the
    // whole command.
    let more =
      patterns.isEmpty
      ? "" : ", and ACL SETUSER \(user) \(patterns.joined(separator: " ")) unless it has all"
    // PUBLISH was not tried where it could not be queued; to permit it in any case does no harm.
    let untried = missing.contains("+multi") && !missing.contains("+publish") ? " +publish" : ""
    let remedy = "ACL SETUSER \(user) \(words)\(untried)\(more)"
    return lacks.contains(where: \.loss.isFatal)
      ? .fail("permissions", found, remedy: remedy) : .warn("permissions", found, remedy: remedy)
  }

  private static let allKeys = "~paasbus:*"
  private static let appsKey = "~\(Keys.apps)"
  private var channelPattern: String { "&\(channel)" }

  /// Patterns of keys and channels about which the server's answers say nothing. The server checks
  /// the command first, so that happens where every command with a key, or with a channel, was
  /// refused.
  private func unknownPatterns(_ lacks: [PermissionLack]) -> [String] {
    let refused = Set(lacks.filter { $0.kind.word?.hasPrefix("+") == true }.map(\.trial.name))
    let isAllRefused = trials.filter(\.hasKey).allSatisfy { refused.contains($0.name) }
    let isChannelUnknown = refused.contains("PUBLISH") || refused.contains("MULTI")
    return (isAllRefused ? [Self.allKeys] : []) + (isChannelUnknown ? [channelPattern] : [])
  }

  /// All permissions, for a user that may not even send the first command.
  static func wholeRemedy(app: String, setup: Setup, connector: RedisConnector) -> String {
    let checks = PermissionChecks(connector: connector, app: app, setup: setup)
    let words = checks.unique(
      ["+ping", "+subscribe"] + [PermissionTrial("MULTI"), PermissionTrial("EXEC")].map(\.word)
        + checks.trials.map(\.word))
    return "ACL SETUSER \(checks.user) \(words.joined(separator: " ")), and ACL SETUSER "
      + "\(checks.user) \(allKeys) \(checks.channelPattern) unless it has all"
  }

  /// The user that needs the permissions.
  private var user: String { connector.endpoint.user }

  /// The losses, each of them once. The loss of everything includes the others.
  private func losses(_ lacks: [PermissionLack]) -> String {
    var losses = unique(lacks.map(\.loss))
    if losses.contains(.everything) {
      losses.removeAll { $0 == .watching || $0 == .announcing }
    }
    return losses.map(\.text).joined(separator: "; ")
  }

  private func unique<Item: Equatable>(_ items: [Item]) -> [Item] {
    items.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
