import NIOCore
import PaasbusRedis
import Synchronization

/// Slows down clients that guess passwords.
///
/// A client has five attempts a minute. They are counted in Redis for all processes, and here as well, for when Redis
/// cannot be asked or does not let us write. Over all clients wrong answers only come later and later, so that no
/// client can lock the others out.
final class FailureLimit: Sendable {
  static let maxFailures: Int64 = 5
  static let window: Int64 = 60

  private struct Count {
    var failures: Int64 = 0
    var begun = ContinuousClock.now

    var isOver: Bool { ContinuousClock.now - begun > .seconds(FailureLimit.window) }
  }

  private struct Recent {
    var all = Count()
    var clients: [String: Count] = [:]
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
    let own = recent.withLock { recent in
      recent.clients[address].map { $0.isOver ? 0 : $0.failures } ?? 0
    }
    guard own < Self.maxFailures else { return true }
    let reply = try? await client.pipeline([RedisCommand("GET", keys.failures(address))]).first
    return reply?.integer ?? 0 >= Self.maxFailures
  }

  /// Counts a failure, and waits as long as wrong answers take at present.
  func note(_ address: String) async {
    let delay = recent.withLock { recent in
      if recent.all.isOver { recent.all = Count() }
      recent.all.failures += 1
      if recent.clients.count >= Self.maxClients {
        recent.clients = recent.clients.filter { !$0.value.isOver }
      }
      if recent.clients[address]?.isOver ?? (recent.clients.count < Self.maxClients) {
        recent.clients[address] = Count()
      }
      recent.clients[address]?.failures += 1
      return Duration.milliseconds(min(2000, max(0, recent.all.failures - 5) * 50))
    }
    let key = keys.failures(address)
    _ = try? await client.pipeline([
      RedisCommand("SET", key, "0", "EX", "\(Self.window)", "NX"), RedisCommand("INCR", key),
    ])
    if delay > .zero { try? await thread.sleep(for: delay) }
  }
}
