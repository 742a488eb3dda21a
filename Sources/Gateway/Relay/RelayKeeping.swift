import PaasbusRedis
import Presence

/// Publishes for a user so that it is kept also where no gateway runs.
package struct RelayKeeping: Sendable {
  /// Why a message is not published.
  package enum Fault: Error, Sendable, Hashable {
    /// It has more than this many bytes.
    case tooLarge(limit: Int)
    /// The channel is not of the form that the relay listens to.
    case otherChannel
  }

  /// The most messages that are kept, and for how long, in ms.
  private static let maxKept = 1000
  private static let keptFor = 600_000
  /// In bytes.
  private static let maxKeptSize = 8 * 1024 * 1024
  private static let maxMessage = 128 * 1024

  private let keys: RelayKeys

  package init(app: String) {
    keys = RelayKeys(app: app)
  }

  /// The key by which a connection finds its node.
  package var key: String { keys.clock }

  /// - Returns: how many subscribers got it, gateways among them.
  /// - Throws: `RedisError`, ``Fault``.
  package func publish(
    _ payload: [UInt8], on channel: String, by connection: RedisConnection
  ) async throws -> Int64 {
    let known = try await connection.send(RedisCommand("HGET", keys.clock, "pattern")).string
    guard channel.hasPrefix(known.map { String($0.dropLast()) } ?? "JOB:") else {
      throw Fault.otherChannel
    }
    let numbers = [Self.maxKept, Self.maxMessage, Self.keptFor, Self.maxKeptSize].map(String.init)
    let reply = try await RelayScripts.keep.run(
      on: connection, keys: [Array(keys.clock.utf8), Array(keys.kept.utf8)],
      arguments: [keys.clock, channel].map { Array($0.utf8) } + [payload]
        + ([RelayFeed.randomWord(6)] + numbers).map { Array($0.utf8) }
    ).reply
    guard reply.elements.first?.string == "kept", let count = reply.elements.at(3)?.integer else {
      throw Fault.tooLarge(limit: Self.maxMessage)
    }
    return count
  }
}
