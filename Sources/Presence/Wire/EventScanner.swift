/// Reads an event as our scripts write it: these members, in this order, without white space and
/// escapes. Fifty times as fast as Foundation's decoder, which reads everything else.
///
/// So it may give up at any time, but must never read anything differently from the decoder.
///
/// It reads the bytes through a pointer, since the array's own check of each index would take half
/// of its time. This is safe, since every index is compared with the end before it is used.
struct EventScanner {
  /// With more members of `meta` than this, the search for duplicate names is left to the decoder.
  private static let maxMeta = 32

  private let bytes: UnsafePointer<UInt8>
  private let count: Int
  private var index = 0

  private init?(_ buffer: UnsafeBufferPointer<UInt8>) {
    guard let bytes = buffer.baseAddress else { return nil }
    (self.bytes, count) = (bytes, buffer.count)
  }

  /// Reads an event, except for the texts of its instance, which are rarely needed.
  ///
  /// - Returns: nil for what is to be read by the decoder.
  static func scan(_ message: ArraySlice<UInt8>) -> Event? {
    message.withUnsafeBufferPointer { bytes in
      guard let kind = plainness(bytes), var scanner = EventScanner(bytes) else { return nil }
      return scanner.event(message, isVerbatim: kind == .ascii)
    }
  }

  /// Reads the instance of an event that was scanned.
  static func scanInstance(ofEvent json: ArraySlice<UInt8>) -> Instance? {
    json.withUnsafeBufferPointer { bytes in
      guard var scanner = EventScanner(bytes), scanner.front() != nil else { return nil }
      return scanner.members(isWhole: false).flatMap(scanner.instance)
    }
  }

  /// Reads an instance's record; nil for what is to be read by the decoder.
  static func scanRecord(_ record: ArraySlice<UInt8>) -> Instance? {
    record.withUnsafeBufferPointer { bytes in
      guard plainness(bytes) != nil, var scanner = EventScanner(bytes),
        let members = scanner.members(isWhole: true), scanner.consumeEnd()
      else { return nil }
      return scanner.instance(members)
    }
  }

  // MARK: Objects

  /// What an event begins with.
  private struct Front {
    var type: EventType
    var position: Position
    var at: Int64
  }

  /// The places of the texts of an instance, and the values of its numbers.
  private struct Members {
    var app, id, name: Range<Int>
    var process, host, platform, release, commit, region: Range<Int>?
    var pid: Int64?
    var started, lease: Int64
    var meta: [String: String] = [:]
    var isPlain = false
  }

  @inline(__always) private mutating func front() -> Front? {
    guard let version = number(#"{"v":"#), let type = type(),
      let epoch = number(#","epoch":"#), let seq = number(#","seq":"#),
      let at = number(#","at":"#),
      Event.isPossible(version: version, epoch: epoch, seq: seq, at: at)
    else { return nil }
    return Front(type: type, position: Position(epoch: epoch, seq: seq), at: at)
  }

  @inline(__always) private mutating func event(
    _ message: ArraySlice<UInt8>, isVerbatim: Bool
  ) -> Event? {
    guard let front = front(), let members = members(isWhole: false) else { return nil }
    let reason = text(#","reason":"#)
    let exit = number(#","exit":"#)
    let signal = text(#","signal":"#)
    let expired = number(#","expired":"#)
    let memory = EventMemory(used: number(#","memory":"#), limit: number(#","limit":"#))
    guard consumeEnd() else { return nil }
    return Event(
      type: front.type, position: front.position, at: front.at, app: string(members.app),
      lease: members.lease, isPlain: members.isPlain, reason: reason.map(string), exit: exit,
      signal: signal.map(string), expired: expired, memory: memory, json: message,
      isVerbatim: isVerbatim)
  }

  private mutating func type() -> EventType? {
    guard consume(#","type":""#) else { return nil }
    if consume(#"start""#) { return .start }
    if consume(#"stop""#) { return .stop }
    if consume(#"stopping""#) { return .stopping }
    if consume(#"lost""#) { return .lost }
    if consume(#"back""#) { return .back }
    return consume(#"forgotten""#) ? .forgotten : nil
  }

  @inline(__always) private mutating func members(isWhole: Bool) -> Members? {
    guard let app = isWhole ? text(#"{"app":"#) : text(#","app":"#), let id = text(#","id":"#),
      let name = text(#","name":"#)
    else { return nil }
    var members = Members(app: app, id: id, name: name, started: 0, lease: 0)
    members.process = text(#","process":"#)
    members.host = text(#","host":"#)
    members.pid = number(#","pid":"#)
    members.platform = text(#","platform":"#)
    members.release = text(#","release":"#)
    members.commit = text(#","commit":"#)
    members.region = text(#","region":"#)
    guard let started = number(#","started":"#), let lease = number(#","lease":"#),
      Instance.isPossible(started: started, lease: lease), !id.isEmpty
    else { return nil }
    (members.started, members.lease) = (started, lease)
    if consume(#","meta":{"#) {
      guard let meta = texts() else { return nil }
      members.meta = meta
    }
    members.isPlain = consume(#","plain":true"#)
    return members
  }

  private func instance(_ members: Members) -> Instance {
    var instance = Instance(
      app: string(members.app), id: string(members.id), name: string(members.name),
      lease: members.lease)
    instance.process = members.process.map(string)
    instance.host = members.host.map(string)
    instance.pid = members.pid.map(Int.init)
    instance.platform = members.platform.map(string)
    instance.release = members.release.map(string)
    instance.commit = members.commit.map(string)
    instance.region = members.region.map(string)
    instance.started = members.started
    instance.meta = members.meta
    instance.isPlain = members.isPlain
    return instance
  }

  // MARK: Members; where one is not what it should be, nothing is taken

  @inline(__always) private mutating func number(_ name: StaticString) -> Int64? {
    let before = index
    guard consume(name), let number = digits() else {
      index = before
      return nil
    }
    return number
  }

  @inline(__always) private mutating func text(_ name: StaticString) -> Range<Int>? {
    let before = index
    guard consume(name), let text = quoted() else {
      index = before
      return nil
    }
    return text
  }

  /// Reads texts by name, from behind a `{` up to and including the `}`; nil for what is to be read
  /// by the decoder.
  private mutating func texts() -> [String: String]? {
    var found: [String: String] = [:]
    while let name = quoted(), consume(":"), let value = quoted() {
      guard found.updateValue(string(value), forKey: string(name)) == nil,
        found.count <= Self.maxMeta
      else {
        return nil
      }
      if consume("}") { return found }
      guard consume(",") else { return nil }
    }
    return nil
  }

  // MARK: Bytes

  @inline(__always) private mutating func consume(_ wanted: StaticString) -> Bool {
    let length = wanted.utf8CodeUnitCount
    guard count - index >= length,
      Self.areSame(bytes + index, wanted.utf8Start, length: length)
    else { return false }
    index += length
    return true
  }

  /// Compares eight bytes at a time. The compiler turns a text that is known beforehand into
  /// numbers.
  @inline(__always) private static func areSame(
    _ one: UnsafePointer<UInt8>, _ other: UnsafePointer<UInt8>, length: Int
  ) -> Bool {
    let (one, other) = (UnsafeRawPointer(one), UnsafeRawPointer(other))
    var offset = 0
    while length - offset >= 8 {
      let word = one.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      guard word == other.loadUnaligned(fromByteOffset: offset, as: UInt64.self) else {
        return false
      }
      offset += 8
    }
    while offset < length {
      let byte = one.load(fromByteOffset: offset, as: UInt8.self)
      guard byte == other.load(fromByteOffset: offset, as: UInt8.self) else { return false }
      offset += 1
    }
    return true
  }

  private mutating func consumeEnd() -> Bool { consume("}") && index == count }

  /// A whole number from 0 on without leading zeros, of at most 18 digits so that it always fits.
  @inline(__always) private mutating func digits() -> Int64? {
    let start = index
    let end = min(count, start + 18)
    var next = start
    var number: Int64 = 0
    while next < end {
      let digit = bytes[next] &- 0x30
      guard digit < 10 else { break }
      number = number * 10 + Int64(digit)
      next += 1
    }
    guard next > start, next - start == 1 || bytes[start] != 0x30 else { return nil }
    index = next
    return number
  }

  /// What stands between two quotes.
  @inline(__always) private mutating func quoted() -> Range<Int>? {
    guard index < count, bytes[index] == UInt8(ascii: "\"") else { return nil }
    let start = index + 1
    var end = start
    while end < count, bytes[end] != UInt8(ascii: "\"") { end += 1 }
    guard end < count else { return nil }
    index = end + 1
    return start..<end
  }

  private func string(_ range: Range<Int>) -> String {
    String(
      decoding: UnsafeBufferPointer(start: bytes + range.lowerBound, count: range.count),
      as: UTF8.self)
  }

  private enum Plainness { case ascii, utf8 }

  /// nil where there are control characters or escapes, or where it is no UTF-8. Text that is all
  /// printable ASCII is exactly what we would write; in other text, some characters may have to be
  /// escaped.
  private static func plainness(_ bytes: UnsafeBufferPointer<UInt8>) -> Plainness? {
    // The compiler turns this arithmetic into steps of many bytes at a time. For an ASCII byte, the
    // top bit of the byte minus 0x20 tells whether the byte was below 0x20.
    var (all, below, slash, delete): (UInt8, UInt8, UInt8, UInt8) = (0, 0, .max, .max)
    for byte in bytes {
      all |= byte
      below |= byte &- 0x20
      slash = min(slash, byte ^ UInt8(ascii: "\\"))
      delete = min(delete, byte ^ 0x7F)
    }
    guard slash > 0 else { return nil }
    if all < 0x80, below < 0x80, delete > 0 { return .ascii }
    let isHarmless = bytes.allSatisfy { $0 >= 0x20 }
    return isHarmless && String(validating: bytes, as: UTF8.self) != nil ? .utf8 : nil
  }
}
