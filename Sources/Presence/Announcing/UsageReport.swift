import PaasbusRedis

/// What an announcer tells of the usage of its instance: with a beat, where it has changed.
struct UsageReport: Sendable {
  /// After so many beats it is sent again even if it has not changed.
  private static let maxSilence = 20

  private let key: String
  private let id: String
  /// The last one that was measured.
  private(set) var last: InstanceUsage?
  private var told: InstanceUsage?
  private var silence = 0
  /// Whether the key has got its time to live.
  private var isKept = false
  /// Whether this user may not write it, or the key is something else.
  private var isRefused = false

  init(keys: Keys, id: String) {
    (key, self.id) = (keys.usage, id)
  }

  /// The commands that go out with a beat.
  mutating func commands(_ usage: InstanceUsage?) -> [RedisCommand] {
    guard let usage else { return [] }
    last = usage
    silence += 1
    if isRefused { return [] }
    if let told, silence < Self.maxSilence, usage.isLike(told) { return [] }
    (told, silence) = (usage, 0)
    let write = RedisCommand(arguments: [
      Array("HSET".utf8), Array(key.utf8), Array(id.utf8), usage.json,
    ])
    return isKept ? [write] : [write, Keys.renewal(key)]
  }

  /// - Parameter replies: those to ``commands(_:)``.
  mutating func receive(_ replies: some Collection<RedisValue>) {
    guard let reply = replies.first else { return }
    guard case .error(let text) = reply else {
      isKept = true
      return
    }
    told = nil
    // A full memory or another master passes; what is forbidden stays so on this connection.
    isRefused = [.refused, .configuration].contains(RedisError.server(text).kind)
  }

  /// Another connection, or a server that has forgotten the instance, and perhaps this too.
  mutating func forget() { (told, isKept, isRefused) = (nil, false, false) }
}
