#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The members of an instance as they stand in an event or a record.
struct WireInstance: Decodable {
  var app, id, name: String
  var started, lease: Int64
  var pid: Int?
  var process, host, platform, release, commit, region: String?
  var meta: [String: String]?
  var plain: Bool?

  var instance: Instance? {
    guard !id.isEmpty, Instance.isPossible(started: started, lease: lease) else { return nil }
    var instance = Instance(app: app, id: id, name: name, lease: lease)
    instance.process = process
    instance.host = host
    instance.pid = pid
    instance.platform = platform
    instance.release = release
    instance.commit = commit
    instance.region = region
    instance.started = started
    instance.meta = meta ?? [:]
    instance.isPlain = plain ?? false
    return instance
  }
}

extension Instance {
  /// Reads an instance's record; nil where the bytes are not a record.
  static func decode(_ record: ArraySlice<UInt8>) -> Instance? {
    guard record.first == UInt8(ascii: "{") else { return nil }
    if let instance = EventScanner.scanRecord(record) { return instance }
    return (try? JSONDecoder().decode(WireInstance.self, from: Data(record)))?.instance
  }
}

/// The members of an event, without those of its instance.
struct WireEvent: Decodable {
  var v: Int
  var type: EventType
  var epoch, seq, at: Int64
  var reason, signal: String?
  var exit, expired, memory, limit: Int64?
}

extension Event {
  /// Reads an event as it stands on the wire; nil where the bytes are not an event, or one of an
  /// unknown version or type.
  package static func read(_ bytes: ArraySlice<UInt8>) -> Event? {
    guard bytes.count <= sizeLimit, bytes.first == UInt8(ascii: "{") else { return nil }
    return EventScanner.scan(bytes) ?? decode(bytes)
  }

  /// Reads an event from any JSON with the same meaning.
  static func decode(_ bytes: ArraySlice<UInt8>) -> Event? {
    let (data, decoder) = (Data(bytes), JSONDecoder())
    guard let wire = try? decoder.decode(WireEvent.self, from: data),
      isPossible(version: Int64(wire.v), epoch: wire.epoch, seq: wire.seq, at: wire.at),
      let instance = (try? decoder.decode(WireInstance.self, from: data))?.instance
    else { return nil }
    return Event(
      type: wire.type, position: Position(epoch: wire.epoch, seq: wire.seq), at: wire.at,
      instance: instance, reason: wire.reason, exit: wire.exit, signal: wire.signal,
      expired: wire.expired, memory: EventMemory(used: wire.memory, limit: wire.limit))
  }

  /// From 1970 to the year 3000, in ms.
  static let times: ClosedRange<Int64> = 0...32_503_680_000_000

  /// Values outside of these ranges cannot come from our scripts, and would make arithmetic
  /// overflow later.
  static func isPossible(version: Int64, epoch: Int64, seq: Int64, at: Int64) -> Bool {
    version == 1 && times.contains(epoch) && epoch > 0 && times.contains(at)
      && (1...Int64.max / 2).contains(seq)
  }
}

extension Event {
  private struct Coordinates: Decodable {
    var app: String
    var epoch, seq: Int64
  }

  /// The position of an event of a later version, of which nothing else can be read.
  static func position(ofUnreadable bytes: ArraySlice<UInt8>, app: String) -> Position? {
    guard bytes.count <= sizeLimit, bytes.first == 0x7B,
      let found = try? JSONDecoder().decode(Coordinates.self, from: Data(bytes)), found.app == app,
      found.epoch > 0, (1...Int64.max / 2).contains(found.seq)
    else { return nil }
    return Position(epoch: found.epoch, seq: found.seq)
  }
}
