import PaasbusRedis

/// The keys of one app's bus.
///
/// All but ``apps`` carry the app's hash tag, so that they share a slot of a cluster and one
/// script may touch them together.
package struct Keys: Sendable, Hashable {
  package let app: String

  package init(app: String) {
    self.app = app
  }

  /// Hash: `epoch`, `seq`, `channel`, `history`.
  package var bus: String { "paasbus:{\(app)}:bus" }

  /// Hash: id → `STATE SEQ RECORD`, the record being JSON.
  package var instances: String { "paasbus:{\(app)}:instances" }

  /// Sorted set: id → end of the lease in ms; only those that are up or stopping.
  package var leases: String { "paasbus:{\(app)}:leases" }

  /// Sorted set: id → when it was lost or stopped, in ms.
  package var ended: String { "paasbus:{\(app)}:ended" }

  /// Stream: entry id `EPOCH-SEQ`, field `event`.
  package var events: String { "paasbus:{\(app)}:events" }

  /// Hash: id → what the instance uses, as JSON.
  package var usage: String { "paasbus:{\(app)}:usage" }

  /// Hash: name of a handler → `EPOCH SEQ OWNER END TRIES`: how far it is and which watch runs it.
  package var handlers: String { "paasbus:{\(app)}:handlers" }

  /// Sorted set, one for the whole server: app → when it last announced, in ms.
  package static let apps = "paasbus:apps"
  /// The app of instances that name none.
  package static let defaultApp = "default"

  /// The keys of a transition, in the order that the scripts expect.
  var transition: [String] { [bus, instances, leases, ended, events, usage, handlers] }

  /// Removes the whole bus except its entry in the list of apps, which may be on another node of a
  /// cluster; see ``unlist(on:)``.
  ///
  /// - Throws: `RedisError`.
  package func remove(on connection: RedisConnection) async throws {
    // `EXPIRE` instead of `DEL`, since a user that may announce may use `EXPIRE`, but not `DEL`.
    _ = try await connection.transaction(transition.map { RedisCommand("EXPIRE", $0, "0") })
  }

  /// Takes the bus from the list of apps.
  ///
  /// - Throws: `RedisError`.
  package func unlist(on connection: RedisConnection) async throws {
    _ = try await connection.send(RedisCommand("ZREM", Keys.apps, app))
  }

  /// How long a key lives after the last transition.
  package static let timeToLive = Duration.seconds(7 * 24 * 3600)

  /// Has a key live so long from now on.
  static func renewal(_ key: String) -> RedisCommand {
    RedisCommand("EXPIRE", key, "\(timeToLive.components.seconds)")
  }

  /// An app's name in the characters that keys may have: all others become `-`. It has at most 100
  /// characters.
  package static func appName(from text: String) -> String {
    var name = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(100) {
      let isPlain =
        scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
      name.append(isPlain || "._-".unicodeScalars.contains(scalar) ? scalar : "-")
    }
    return String(name)
  }
}
