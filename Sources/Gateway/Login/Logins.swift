import PaasbusRedis
import Presence
import Synchronization

/// The log-ins, which are kept in Redis: they survive a restart and hold at every process of the panel.
///
/// A browser holds 256 random bits; Redis holds their SHA-256 as a key, and as its value when the log-in began
/// and a signature under the password, so that another password ends it. What can be read there lets
/// no reader log in.
final class Logins: Sendable {
  enum Standing: Sendable, Equatable {
    case valid
    case invalid
    /// Redis cannot be asked, and has not confirmed this log-in before.
    case unknown
  }

  /// Unused for longer, a log-in ends.
  private static let idleLimit: Int64 = 12 * 3_600_000
  /// A log-in ends after this in any case.
  private static let maxAge: Int64 = 7 * 24 * 3_600_000
  /// So many are remembered for an outage.
  private static let maxRemembered = 10_000

  private let client: RedisClient
  private let keys: PanelKeys
  private let password: String
  /// Those that Redis confirmed when it was last asked.
  private let confirmed = Mutex<Set<String>>([])

  init(client: RedisClient, keys: PanelKeys, password: String) {
    (self.client, self.keys, self.password) = (client, keys, password)
  }

  /// Begins a log-in.
  ///
  /// - Returns: the token for the browser.
  /// - Throws: `RedisError`.
  func begin() async throws -> String {
    let token = Secrets.token()
    let now = try await (client.pipeline([RedisCommand("TIME")]).first ?? .null).serverTime
    let reply = try await client.pipeline([
      RedisCommand(
        "SET", keys.login(token), "\(now) \(signature(token, begun: now))", "PX",
        "\(Self.idleLimit)")
    ]).first
    _ = try reply?.get()
    remember(token)
    return token
  }

  /// Ends a log-in everywhere.
  ///
  /// - Throws: `RedisError`.
  func end(_ token: String) async throws {
    confirmed.withLock { _ = $0.remove(token) }
    _ = try await client.pipeline([RedisCommand("DEL", keys.login(token))]).first?.get()
  }

  /// Asks for a log-in, and gives it another twelve hours.
  func standing(of token: String) async -> Standing {
    guard token.utf8.count == 64 else { return .invalid }
    do {
      let key = keys.login(token)
      let replies = try await client.pipeline([RedisCommand("TIME"), RedisCommand("GET", key)])
      let value = try replies.at(1)?.get().string
      let now = try (replies.first ?? .null).serverTime
      guard let value,
        let begun = value.split(separator: " ").first.flatMap({ Int64($0) }),
        Secrets.isEqual(value, "\(begun) \(signature(token, begun: begun))"),
        (0...now).contains(begun), now - begun < Self.maxAge
      else {
        confirmed.withLock { _ = $0.remove(token) }
        return .invalid
      }
      let rest = min(Self.idleLimit, Self.maxAge - (now - begun))
      _ = try await client.pipeline([RedisCommand("PEXPIRE", key, "\(rest)")])
      remember(token)
      return .valid
    } catch {
      return confirmed.withLock { $0.contains(token) } ? .valid : .unknown
    }
  }

  private func signature(_ token: String, begun: Int64) -> String {
    Secrets.signature(of: "\(begun) \(token)", key: password)
  }

  private func remember(_ token: String) {
    confirmed.withLock { confirmed in
      if confirmed.count >= Self.maxRemembered { confirmed.removeAll() }
      confirmed.insert(token)
    }
  }
}

/// The panel's keys on Redis.
struct PanelKeys: Sendable {
  let app: String

  private var prefix: String { "paasbus:{\(app)}:panel:" }

  /// String: when the log-in began, in ms, and a signature. The token itself stands nowhere.
  func login(_ token: String) -> String { prefix + Secrets.digest(token) }

  /// Counter: failed log-ins of a client within the last minute.
  func failures(_ client: String) -> String { prefix + "failures:" + Secrets.digest(client) }
}
