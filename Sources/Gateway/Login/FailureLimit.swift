import NIOCore
import PaasbusRedis
import Synchronization

/// Slows down those who guess passwords.
///
/// A client has five attempts a minute, which are counted in Redis for all processes. Over all clients wrong
/// answers only come later and later, so that nobody can lock others out.
final class FailureLimit: Sendable {
  static let maxFailures: Int64 = 5
  static let window: Int64 = 60

  private struct Recent {
    var count = 0
    var begun = ContinuousClock.now
    /// What clients did while Redis could not be asked.
    var clients: [String: Int64] = [:]
  }

  private static let maxClients = 10_000

  private let client: RedisClient
  private let keys: PanelKeys
  private let thread: ConnectionThread
  private let recent = Mutex(Recent())

  init(client: RedisClient, keys: PanelKeys, thread: ConnectionThread) {
    (self.client, self.keys, self.thread) = (client, keys, thread)
  }

  /// Whether a client has no attempt left.
  func isExhausted(_ address: String) async -> Bool {
    let count: Int64
    do {
      let reply = try await client.pipeline([RedisCommand("GET", keys.failures(address))]).first
      count = try reply?.get().integer ?? 0
    } catch {
      count = recent.withLock { $0.clients[address] ?? 0 }
    }
    return count >= Self.maxFailures
  }

  /// Counts a failure, and waits as long as wrong answers take at present.
  func note(_ address: String) async {
    let delay = recent.withLock { recent in
      if ContinuousClock.now - recent.begun > .seconds(Self.window) { recent = Recent() }
      recent.count += 1
      if recent.clients.count < Self.maxClients || recent.clients[address] != nil {
        recent.clients[address, default: 0] += 1
      }
      return Duration.milliseconds(min(2000, max(0, recent.count - 5) * 50))
    }
    let key = keys.failures(address)
    _ = try? await client.pipeline([
      RedisCommand("SET", key, "0", "EX", "\(Self.window)", "NX"), RedisCommand("INCR", key),
    ])
    if delay > .zero { try? await thread.sleep(for: delay) }
  }
}
