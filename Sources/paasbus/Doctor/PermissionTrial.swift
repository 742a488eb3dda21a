import PaasbusRedis
import Presence

/// A command that is tried to learn whether the server has it and the user may use it.
struct PermissionTrial {
  var command: RedisCommand
  /// What is lost without it.
  var loss: PermissionLoss

  init(_ words: String..., loss: PermissionLoss = .announcing) {
    command = RedisCommand(words)
    self.loss = loss
  }

  var name: String { command.name }
  /// Whether its key is the list of apps.
  var isOfApps: Bool { command.arguments.at(1) == Array(Keys.apps.utf8) }
  /// Whether it names a key, for which the user needs a permission.
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

  /// Every command of paasbus, in a form that changes nothing.
  static func all(keys: Keys, channel: String) -> [PermissionTrial] {
    [
      Self("TIME", loss: .everything), Self("EXISTS", keys.bus), Self("TYPE", keys.bus),
      Self("HMGET", keys.bus, "epoch", loss: .everything),
      Self("HEXISTS", keys.instances, ""),
      Self("HGET", keys.instances, ""), Self("HSET", keys.bus, "epoch", "0", "unpaired"),
      Self("HDEL", keys.instances, ""), Self("HGETALL", keys.leases, loss: .watching),
      Self("ZADD", keys.leases, "XX", "0", ""), Self("ZREM", keys.leases, ""),
      Self("ZSCORE", keys.leases, ""), Self("ZRANGEBYSCORE", keys.leases, "1", "0"),
      Self("ZREMRANGEBYSCORE", keys.leases, "1", "0"),
      Self("XADD", keys.events, "0-0", "event", ""),
      Self(
        "XINFO", "STREAM", keys.events,
        loss: .convenience("a bus that lost its hash alone may use the same numbers again")),
      Self("EXPIRE", keys.bus, "not-a-number"), Self("SCRIPT", "LOAD", "return 1"),
      Self("EVALSHA", "0", "0"), Self("EVAL", "return 1", "0"),
      Self("PUBLISH", channel, ""),
      Self("ZADD", Keys.apps, "XX", "0", "", loss: .convenience("readers need --app")),
      Self("ZRANGE", keys.leases, "1", "0", loss: .watching),
      Self("ZRANGE", Keys.apps, "1", "0", loss: .convenience("readers need --app")),
      Self("XRANGE", keys.events, "1", "0", loss: .command("watch and history do not work")),
      Self("XREVRANGE", keys.events, "0", "1", loss: .command("watch and history -n do not work")),
      Self(
        "CLIENT", "SETNAME", "", loss: .convenience("only the lease shows a killed instance")),
      Self("CLIENT", "LIST", loss: .convenience("only the lease shows a killed instance")),
    ]
  }
}

/// A command that cannot be used, and why.
struct PermissionLack {
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

  let trial: PermissionTrial
  let kind: Kind

  var loss: PermissionLoss { trial.loss }
}

/// What does not work where a command cannot be used.
enum PermissionLoss: Equatable {
  case command(String)
  /// Something that paasbus can do without.
  case convenience(String)

  static let announcing = Self.command("announce does not work")
  static let watching = Self.command("watch and list do not work")
  static let everything = Self.command("announce, watch and list do not work")

  var isFatal: Bool {
    if case .command = self { true } else { false }
  }

  var text: String {
    switch self {
    case .command(let text), .convenience(let text): text
    }
  }
}
