import Synchronization

/// A Lua script that runs on the server as one atomic step.
///
/// The server knows a script by the SHA-1 of its text, which it tells itself: the first run in a
/// process sends the text (`SCRIPT LOAD` and `EVAL` in one write), later ones only the digest.
public final class RedisScript: Sendable {
  private let source: [UInt8]
  private let digest = Mutex<String?>(nil)

  public init(source: [UInt8]) {
    self.source = source
  }

  /// Lets the server know the scripts, so that each of them needs only few bytes when it is run.
  ///
  /// - Throws: ``RedisError`` where the connection fails; a refusal is no fault.
  public static func load(_ scripts: [RedisScript], on connection: RedisConnection) async throws {
    let replies = try await connection.pipeline(scripts.map(\.loadCommand))
    for (script, reply) in zip(scripts, replies) {
      if let digest = reply.string { script.digest.withLock { $0 = digest } }
    }
  }

  private var loadCommand: RedisCommand {
    RedisCommand(arguments: [Array("SCRIPT".utf8), Array("LOAD".utf8), source])
  }

  /// Runs the script and returns its reply.
  ///
  /// - Throws: ``RedisError``, also for an error reply.
  public func run(
    on connection: RedisConnection, keys: [String], arguments: [[UInt8]]
  ) async throws -> RedisValue {
    let tail = [Array("\(keys.count)".utf8)] + keys.map { Array($0.utf8) } + arguments
    if let digest = digest.withLock({ $0 }) {
      let command = RedisCommand(arguments: [Array("EVALSHA".utf8), Array(digest.utf8)] + tail)
      let reply = try await connection.pipeline([command]).first ?? .null
      guard case .error(let text) = reply, text.hasPrefix("NOSCRIPT") else {
        return try reply.get()
      }
    }
    let replies = try await connection.pipeline([
      loadCommand,
      RedisCommand(arguments: [Array("EVAL".utf8), source] + tail),
    ])
    // Where SCRIPT is refused, each run sends the text.
    if let loaded = replies.first?.string { digest.withLock { $0 = loaded } }
    return try replies.at(1)?.get() ?? .null
  }
}
