import PaasbusRedis
import Synchronization

/// A position in the history of a bus: its birth, and the number of an event since.
public struct Position: Sendable, Hashable, Comparable {
  /// The birth of the bus in ms since 1970 by the server's clock.
  public var epoch: Int64
  /// Counts the events from 1 without a gap; 0 stands before the first.
  public var seq: Int64

  /// The position of one event.
  public init(epoch: Int64, seq: Int64) {
    self.epoch = epoch
    self.seq = seq
  }

  /// By epoch, then by number.
  public static func < (one: Position, other: Position) -> Bool {
    (one.epoch, one.seq) < (other.epoch, other.seq)
  }

  /// Reads the id of an entry in the stream.
  init?(entryID: ArraySlice<UInt8>) {
    guard let dash = entryID.firstIndex(of: UInt8(ascii: "-")),
      let epoch = entryID[..<dash].wholeNumber, let seq = entryID[(dash + 1)...].wholeNumber
    else { return nil }
    self.init(epoch: epoch, seq: seq)
  }

  /// The id of the entry in the stream.
  public var entryID: String { "\(epoch)-\(seq)" }
}

/// What may happen to an instance.
public enum EventType: String, Sendable, CaseIterable, Codable {
  case start, stopping, stop, lost, back, forgotten
}

/// The memory of an instance that ended, in bytes, as far as it was measured.
public struct EventMemory: Sendable, Hashable {
  /// What it used.
  public var used: Int64?
  /// What it might have used.
  public var limit: Int64?
}

/// Something that happened to an instance. It never changes, so it is handed on without being
/// copied.
public final class Event: Sendable {
  /// The most bytes that an event has on the wire.
  public static let sizeLimit = 8192

  /// What happened.
  public let type: EventType
  /// Its position in the history.
  public let position: Position
  /// When it happened, in ms since 1970 by the server's clock.
  public let at: Int64
  /// The app of the instance.
  public let app: String
  /// The lease of the instance, in ms.
  public let lease: Int64
  /// Whether the tutorial's bare words are published with it.
  package let isPlain: Bool
  /// Why it happened: a signal's name, `exit`, `signal`, `pid-gone`, `oom`, `lease`,
  /// `connection`.
  public let reason: String?
  /// The status of a wrapped command as a shell tells it.
  public let exit: Int64?
  /// The signal that ended a wrapped command.
  public let signal: String?
  /// When the lease ended, in ms.
  public let expired: Int64?
  /// What the instance used when that was last measured.
  public let memory: EventMemory
  /// The JSON that the instance is read from. It is a slice of memory that is shared by all events
  /// that came at once, and it keeps all of that memory alive. Where few events came, that is
  /// little; where many came, many share it.
  private let json: ArraySlice<UInt8>?
  /// Whether ``json`` is exactly what we would write.
  private let isVerbatim: Bool
  /// nil until the instance is asked for, since reading it takes most of the time, and printing
  /// JSON does not need it.
  private let known: Mutex<KnownInstance?>

  /// The instance to which it happened.
  public var instance: Instance {
    known.withLock { known in
      if let known { return known.instance }
      // The scanner has already read these bytes once, so it can read them again.
      let read =
        json.flatMap(EventScanner.scanInstance)
        ?? Instance(app: app, id: "", name: "", lease: lease)
      known = KnownInstance(instance: read)
      return read
    }
  }

  init(
    type: EventType, position: Position, at: Int64, instance: Instance, reason: String? = nil,
    exit: Int64? = nil, signal: String? = nil, expired: Int64? = nil,
    memory: EventMemory = EventMemory()
  ) {
    self.type = type
    self.position = position
    self.at = at
    (app, lease, isPlain) = (instance.app, instance.lease, instance.isPlain)
    self.reason = reason
    self.exit = exit
    self.signal = signal
    self.expired = expired
    self.memory = memory
    (json, isVerbatim) = (nil, false)
    known = Mutex(KnownInstance(instance: instance))
  }

  /// An event whose instance is read when it is asked for.
  ///
  /// - Parameter json: the event, of which the scanner can read the instance.
  init(
    type: EventType, position: Position, at: Int64, app: String, lease: Int64, isPlain: Bool,
    reason: String?, exit: Int64?, signal: String?, expired: Int64?, memory: EventMemory,
    json: ArraySlice<UInt8>, isVerbatim: Bool
  ) {
    self.type = type
    self.position = position
    self.at = at
    self.app = app
    self.lease = lease
    self.isPlain = isPlain
    self.reason = reason
    self.exit = exit
    self.signal = signal
    self.expired = expired
    self.memory = memory
    self.json = json
    self.isVerbatim = isVerbatim
    known = Mutex(nil)
  }

  /// Adds the event as a whole line of JSON.
  ///
  /// - Parameter source: what comes before its members, such as `"source":"live"`.
  public func addLine(_ source: [UInt8] = [], to text: inout [UInt8]) {
    if !source.isEmpty {
      text.append(0x7B)
      text += source
    }
    let start = text.count
    if let json, isVerbatim {
      text += json
    } else {
      var members = JSONText()
      addMembers(to: &members)
      text += members.object
    }
    // The event's opening brace becomes a comma, since its members follow those of `source`.
    if !source.isEmpty { text[start] = 0x2C }
    text.append(0x0A)
  }

  /// The members that every event has, and those that are known.
  package func addMembers(to text: inout JSONText) {
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
    text.member("memory", memory.used)
    text.member("limit", memory.limit)
  }
}

/// A class, so that an event whose instance is never asked for does not need the memory for it.
private final class KnownInstance: Sendable {
  let instance: Instance

  init(instance: Instance) { self.instance = instance }
}

extension Event: Hashable {
  /// Compares the contents, whatever bytes they were read from.
  public static func == (one: Event, other: Event) -> Bool {
    one === other
      || (one.type, one.position, one.at) == (other.type, other.position, other.at)
        && (one.reason, one.exit, one.signal, one.expired)
          == (other.reason, other.exit, other.signal, other.expired)
        && one.memory == other.memory
        && one.instance == other.instance
  }

  /// By what `==` compares.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(position)
    hasher.combine(instance)
  }
}
