/// A Lua script that runs on the server as one atomic step.
///
/// The server knows a script by the SHA-1 of its text. So a script is run by its SHA-1, and the
/// text is sent only to a server that answers that it does not know the script.
package struct RedisScript: Sendable {
  let source: [UInt8]
  /// In hexadecimal digits.
  let digest: String

  /// - Parameter digest: the SHA-1 of the source, as `SCRIPT LOAD` returns it.
  package init(source: [UInt8], digest: String) {
    self.source = source
    self.digest = digest
  }

  /// Loads the scripts into the server, so that a later run of each of them needs only few bytes.
  ///
  /// - Throws: ``RedisError`` where the connection fails; a refusal is not an error.
  package static func load(_ scripts: [RedisScript], on connection: RedisConnection) async throws {
    _ = try await connection.pipeline(scripts.map(\.loadCommand))
  }

  private var loadCommand: RedisCommand {
    RedisCommand(arguments: [Array("SCRIPT".utf8), Array("LOAD".utf8), source])
  }

  /// Runs the script.
  ///
  /// - Returns: its reply, and whether the server knew it.
  /// - Throws: ``RedisError``, also for an error reply.
  package func run(
    on connection: RedisConnection, keys: [[UInt8]], arguments: [[UInt8]]
  ) async throws -> (reply: RedisValue, wasKnown: Bool) {
    let tail = [Array("\(keys.count)".utf8)] + keys + arguments
    let byDigest = RedisCommand(arguments: [Array("EVALSHA".utf8), Array(digest.utf8)] + tail)
    let first = try await connection.pipeline([byDigest])
    if let reply = try Self.known(first.last) { return (reply, true) }
    let second = try await connection.pipeline([loadCommand, byDigest])
    if let reply = try Self.known(second.last) { return (reply, false) }
    // SCRIPT LOAD may be refused or missing. A script that EVAL has run is known to the server too.
    // Where EVAL is not available either, the error to SCRIPT LOAD is the one to report.
    let byText = RedisCommand(arguments: [Array("EVAL".utf8), source] + tail)
    let third = try await connection.pipeline([byText]).first ?? .null
    if case .error(let text) = third, text.hasPrefix("NOPERM") || Self.isUnknown("EVAL", text) {
      try second.first?.get()
    }
    return (try third.get(), false)
  }

  /// What a script replied; nil where it has to be tried in another way.
  private static func known(_ reply: RedisValue?) throws -> RedisValue? {
    if case .error(let text)? = reply, text.hasPrefix("NOSCRIPT") || isUnknown("EVALSHA", text) {
      return nil
    }
    return try (reply ?? .null).get()
  }

  private static func isUnknown(_ command: String, _ text: String) -> Bool {
    ErrorReply(text).meaning == .unknownCommand(command)
  }
}
