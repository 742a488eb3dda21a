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
    // What is outside of this can be no instance of ours, and would trip arithmetic later.
    let year3000: Int64 = 32_503_680_000_000
    guard !id.isEmpty, (0...year3000).contains(started), (1...86_400_000).contains(lease) else {
      return nil
    }
    var instance = Instance(app: app, id: id, name: name, lease: .milliseconds(lease))
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

  /// Reads an instance's record.
  ///
  /// - Returns: it, and whether the record stands just as we would write it.
  static func decode(_ record: some Collection<UInt8>) -> (instance: Instance, isPlain: Bool)? {
    guard record.first == UInt8(ascii: "{") else { return nil }
    if let wire = EventScanner.scanRecord(record) {
      return wire.instance.map { ($0, record.allSatisfy { $0 < 0x7F }) }
    }
    let wire = try? JSONDecoder().decode(WireInstance.self, from: Data(record))
    return wire?.instance.map { ($0, false) }
  }
}

/// The members of an event beside those of its instance.
struct WireEvent: Decodable {
  var v: Int
  var type: EventType
  var epoch, seq, at: Int64
  var reason, signal: String?
  var exit, expired: Int64?
}

extension Event {
  /// Reads an event as it stands on the wire; nil where the bytes are none, which includes a
  /// version or a type that is not known.
  public init?(decoding bytes: [UInt8]) {
    guard bytes.count <= Self.sizeLimit, bytes.first == UInt8(ascii: "{") else { return nil }
    if let (wire, instance) = EventScanner.scan(bytes) {
      self.init(wire, instance)
      // What the scanner reads stands as we write it; beyond ASCII, some of it may have to be escaped.
      if bytes.allSatisfy({ $0 < 0x7F }) { self.wire.text = bytes }
    } else if let (wire, instance) = Self.decode(bytes) {
      self.init(wire, instance)
    } else {
      return nil
    }
  }

  /// Reads whatever JSON says the same.
  static func decode(_ bytes: [UInt8]) -> (WireEvent, WireInstance)? {
    let (data, decoder) = (Data(bytes), JSONDecoder())
    guard let wire = try? decoder.decode(WireEvent.self, from: data),
      let instance = try? decoder.decode(WireInstance.self, from: data)
    else { return nil }
    return (wire, instance)
  }

  init?(_ wire: WireEvent, _ instance: WireInstance) {
    let year3000: Int64 = 32_503_680_000_000
    guard wire.v == 1, (1...year3000).contains(wire.epoch), (0...year3000).contains(wire.at),
      (1...Int64.max / 2).contains(wire.seq), let instance = instance.instance
    else { return nil }
    type = wire.type
    position = Position(epoch: wire.epoch, seq: wire.seq)
    at = wire.at
    self.instance = instance
    reason = wire.reason
    exit = wire.exit
    signal = wire.signal
    expired = wire.expired
  }
}

extension Event {
  private struct Place: Decodable {
    var app: String
    var epoch, seq: Int64
  }

  /// Where an event of a later version stands, of which nothing else can be read.
  static func position(ofUnreadable bytes: [UInt8], app: String) -> Position? {
    guard bytes.count <= sizeLimit, bytes.first == 0x7B,
      let place = try? JSONDecoder().decode(Place.self, from: Data(bytes)), place.app == app,
      place.epoch > 0, (1...Int64.max / 2).contains(place.seq)
    else { return nil }
    return Position(epoch: place.epoch, seq: place.seq)
  }
}
