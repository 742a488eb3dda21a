import Redis

/// A place in the history of a bus: its birth, and the number of an event since.
public struct Position: Sendable, Hashable, Comparable {
  /// The birth of the bus in ms since 1970 by the server's clock.
  public var epoch: Int64
  /// Counts the events from 1 without a gap; 0 stands before the first.
  public var seq: Int64

  public init(epoch: Int64, seq: Int64) {
    self.epoch = epoch
    self.seq = seq
  }

  public static func < (one: Position, other: Position) -> Bool {
    (one.epoch, one.seq) < (other.epoch, other.seq)
  }

  /// Reads the id of an entry in the stream.
  init?(entryID: [UInt8]) {
    guard let dash = entryID.firstIndex(of: UInt8(ascii: "-")),
      let epoch = entryID[..<dash].wholeNumber, let seq = entryID[(dash + 1)...].wholeNumber
    else { return nil }
    self.init(epoch: epoch, seq: seq)
  }

  /// The id of the entry in the stream.
  public var entryID: String { "\(epoch)-\(seq)" }
}

public enum EventType: String, Sendable, CaseIterable, Codable {
  case start, stopping, stop, lost, back, forgotten
}

/// Something that happened to an instance.
public struct Event: Sendable, Hashable {
  /// The most bytes that an event has on the wire.
  public static let sizeLimit = 8192

  public internal(set) var type: EventType
  public internal(set) var position: Position
  /// When it happened, in ms since 1970 by the server's clock.
  public internal(set) var at: Int64
  public internal(set) var instance: Instance
  /// Why: a signal's name, `exit`, `signal`, `pid-gone`, `lease`, `connection`.
  public internal(set) var reason: String?
  /// The status of a wrapped command as a shell tells it.
  public internal(set) var exit: Int64?
  /// The signal that ended a wrapped command.
  public internal(set) var signal: String?
  /// When the lease ended, in ms.
  public internal(set) var expired: Int64?
  /// What it was read from.
  var wire = WireText()

  /// The event as a whole line of JSON.
  ///
  /// - Parameter source: what stands before its members, as `"source":"live",`.
  public func line(_ source: [UInt8] = []) -> [UInt8] {
    guard let text = wire.text else {
      var members = JSONText()
      addMembers(to: &members)
      return [0x7B] + source + members.line.dropFirst()
    }
    var line: [UInt8] = []
    line.reserveCapacity(text.count + source.count + 1)
    line.append(0x7B)
    line += source
    line += text.dropFirst()
    line.append(0x0A)
    return line
  }

  /// The members that every event has, and those that are known.
  public func addMembers(to text: inout JSONText) {
    text.member("v", 1)
    text.member("type", type.rawValue)
    text.member("epoch", position.epoch)
    text.member("seq", position.seq)
    text.member("at", at)
    instance.addMembers(to: &text)
    text.member("reason", reason)
    text.member("exit", exit)
    text.member("signal", signal)
    text.member("expired", expired)
  }
}

/// The very bytes of an event, where they are just what we would write for it: so nobody has to write
/// them again. Two events are the same whatever they were read from.
struct WireText: Sendable, Hashable {
  var text: ArraySlice<UInt8>?

  static func == (one: WireText, other: WireText) -> Bool { true }

  func hash(into hasher: inout Hasher) {}
}
