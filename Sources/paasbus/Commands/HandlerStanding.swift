import PaasbusRedis
import Presence
import Terminal
import Views

/// How far a handler with a name has come, for `history --handler`.
struct HandlerStanding {
  let name: String
  let record: HandlerRecord
  /// The last event of the bus; nil where there is none.
  let last: Position?
  /// The server's time, in ms.
  let now: Int64

  /// - Throws: `RedisError`, ``Failure`` where there is no such handler.
  static func read(
    _ name: String, keys: Keys, on connection: RedisConnection
  ) async throws -> HandlerStanding {
    let records = try await HandlerRecord.all(keys: keys, on: connection)
    guard let record = records[name] else {
      let others = records.keys.sorted().joined(separator: ", ")
      throw Failure(
        .failed, "no handler \(Echo.of(name)) on the bus \(keys.app)",
        remedy: others.isEmpty
          ? "start one with 'paasbus watch --exec COMMAND --handler \(name)'"
          : "the handlers are \(others)")
    }
    return HandlerStanding(
      name: name, record: record,
      last: try await BusState.read(keys: keys, on: connection).position,
      now: try await ServerClock.read(on: connection).now)
  }

  private var isRun: Bool { record.owner != nil && record.ownedUntil > now }

  /// How many events are still to be handled.
  private var behind: Int64 {
    guard let last else { return 0 }
    // Of a bus that was created again, all events are.
    return max(0, last.seq - (record.position?.epoch == last.epoch ? record.position?.seq ?? 0 : 0))
  }

  private var place: String {
    guard let position = record.position else { return "at no event yet" }
    guard let last else { return "at event \(position.seq)" }
    return position.epoch == last.epoch
      ? "at event \(position.seq) of \(last.seq)"
      : "at event \(position.seq) of the bus that was here before"
  }

  var text: String {
    let events =
      behind == 0
      ? "all events are handled"
      : "\(behind == 1 ? "1 event is" : "\(behind) events are") still to be handled"
    let parts = [
      place,
      events,
      record.tries > 0
        ? "the next one has failed \(record.tries == 1 ? "once" : "\(record.tries) times")" : nil,
      isRun ? "a watch runs it" : "no watch runs it",
    ]
    return "\(name): \(parts.compactMap(\.self).joined(separator: ", "))\n"
  }

  var json: [UInt8] {
    var text = JSONText()
    text.member("handler", name)
    text.member("epoch", record.position?.epoch)
    text.member("seq", record.position?.seq)
    text.member("last", last?.seq)
    text.member("behind", behind)
    text.member("tries", Int64(record.tries))
    if isRun {
      text.member("owner", record.owner)
      text.member("until", record.ownedUntil)
    }
    return text.line
  }
}
