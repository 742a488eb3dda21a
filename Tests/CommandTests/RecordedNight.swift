import Foundation
import PaasbusRedis
import TestSupport

@testable import Presence

/// A bus as it stands at half past midnight, on a server whose clock stands still, so that what is
/// shown of it is always the same: a roll-out, a loss and a return, and names of all kinds.
struct RecordedNight {
  static let app = "shop"
  private static let keys = Keys(app: app)
  /// 2026-01-05 21:00:00 UTC, in ms.
  private static let epoch: Int64 = 1_767_646_800_000

  /// Runs `body` with a server that holds it.
  static func with(_ body: (RedisServer) async throws -> Void) async throws {
    try await MovedClock.with { clock in
      clock.shift("2026-01-06 00:30:00")
      try await RedisServer.with(environment: clock.environment) { server in
        try await server.connector.withConnection { try await write(on: $0) }
        try await body(server)
      }
    }
  }

  private struct Kind {
    var id: String
    var name: String
    var release: String
    /// Seconds after the bus's birth.
    var started: Int64
    var place = ("heroku", "eu")

    var instance: Instance {
      var instance = Instance(app: app, id: id, name: name, lease: .seconds(300))
      instance.release = release
      (instance.platform, instance.region) = place
      (instance.host, instance.pid) = ("b7c1", 4)
      instance.started = epoch + started * 1000
      return instance
    }
  }

  private static let oldWeb = Kind(id: ulid("A"), name: "web.1", release: "v41", started: 0)
  private static let secondWeb = Kind(id: ulid("B"), name: "web.2", release: "v41", started: 5)
  private static let worker = Kind(id: ulid("C"), name: "worker.1", release: "v41", started: 60)
  private static let newWeb = Kind(id: ulid("D"), name: "web.1", release: "v42", started: 9570)
  private static let edge = Kind(
    id: ulid("E"), name: "東京.エッジ🚀", release: "v42", started: 11_370, place: ("fly", "nrt"))

  private static func ulid(_ letter: Character) -> String {
    "01KE8H0A00" + String(repeating: letter, count: 16)
  }

  private static let events: [(EventType, Kind, at: Int64, reason: String?, exit: Int64?)] = [
    (.start, oldWeb, 0, nil, nil), (.start, secondWeb, 5, nil, nil),
    (.start, worker, 60, nil, nil), (.start, newWeb, 9570, nil, nil),
    (.stopping, oldWeb, 9600, "SIGTERM", nil), (.stop, oldWeb, 9612, "SIGTERM", 143),
    (.lost, secondWeb, 10_530, "connection", nil), (.back, secondWeb, 10_935, nil, nil),
    (.start, edge, 11_370, nil, nil), (.stopping, worker, 12_030, "SIGTERM", nil),
  ]

  private static func write(on connection: RedisConnection) async throws {
    var commands = [
      RedisCommand(
        "HSET", keys.bus, "epoch", "\(epoch)", "seq", "\(events.count)", "channel", "instances"),
      RedisCommand("ZADD", Keys.apps, "\(epoch)", app),
    ]
    for (number, (type, kind, at, reason, exit)) in events.enumerated() {
      let event = Event(
        type: type, position: Position(epoch: epoch, seq: Int64(number) + 1),
        at: epoch + at * 1000, instance: kind.instance, reason: reason, exit: exit)
      var text = JSONText()
      event.addMembers(to: &text)
      commands.append(
        RedisCommand(
          "XADD", keys.events, event.position.entryID, "event",
          String(decoding: text.object, as: UTF8.self)))
    }
    for (kind, state, seq) in [
      (secondWeb, "up", 8), (worker, "stopping", 10), (newWeb, "up", 4), (edge, "up", 9),
    ] {
      var text = JSONText()
      kind.instance.addMembers(to: &text)
      let record = "\(state) \(seq) \(String(decoding: text.object, as: UTF8.self))"
      commands.append(RedisCommand("HSET", keys.instances, kind.id, record))
      // The last beat was a minute and a half ago.
      commands.append(
        RedisCommand("ZADD", keys.leases, "\(epoch + 12_810_000)", kind.id))
    }
    for reply in try await connection.pipeline(commands) { try reply.get() }
  }
}
