/// Reads an event as our scripts write it: these members, in this order, without white space and
/// escapes. Fifty times as fast as Foundation's decoder, which reads everything else.
///
/// So it may give up at any time, but must never read what the decoder would read otherwise.
///
/// It looks at the bytes in memory, since to have each index checked by the array again would take
/// half of its time: no index is used that was not compared with the end.
struct EventScanner {
  /// More members of `meta` are the decoder's to look for doubles in.
  private static let maxMeta = 32

  private let bytes: UnsafePointer<UInt8>
  private let count: Int
  private var index = 0

  private init?(_ buffer: UnsafeBufferPointer<UInt8>) {
    guard let bytes = buffer.baseAddress else { return nil }
    (self.bytes, count) = (bytes, buffer.count)
  }

  /// - Returns: nil for what is to be read by the decoder.
  static func scan(_ message: ArraySlice<UInt8>) -> Event? {
    message.withUnsafeBufferPointer { bytes in
      guard let kind = plainness(bytes), var scanner = EventScanner(bytes) else { return nil }
      return scanner.event(json: kind == .ascii ? Array(bytes) : nil)
    }
  }

  /// The same for an instance's record.
  static func scanRecord(_ record: ArraySlice<UInt8>) -> Instance? {
    record.withUnsafeBufferPointer { bytes in
      guard plainness(bytes) != nil, var scanner = EventScanner(bytes),
        let instance = scanner.instance(isWhole: true), scanner.consumeEnd()
      else { return nil }
      return instance
    }
  }

  // MARK: Objects

  private mutating func event(json: [UInt8]?) -> Event? {
    guard let version = number(#"{"v":"#), let type = type(),
      let epoch = number(#","epoch":"#), let seq = number(#","seq":"#),
      let at = number(#","at":"#), let instance = instance(isWhole: false)
    else { return nil }
    let reason = text(#","reason":"#)
    let exit = number(#","exit":"#)
    let signal = text(#","signal":"#)
    let expired = number(#","expired":"#)
    guard consumeEnd(), Event.isPossible(version: version, epoch: epoch, seq: seq, at: at) else {
      return nil
    }
    return Event(
      type: type, position: Position(epoch: epoch, seq: seq), at: at, instance: instance,
      reason: reason, exit: exit, signal: signal, expired: expired, json: json)
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

  private mutating func instance(isWhole: Bool) -> Instance? {
    guard let app = isWhole ? text(#"{"app":"#) : text(#","app":"#), let id = text(#","id":"#),
      let name = text(#","name":"#)
    else { return nil }
    var instance = Instance(app: app, id: id, name: name, lease: 0)
    instance.process = text(#","process":"#)
    instance.host = text(#","host":"#)
    instance.pid = number(#","pid":"#).map(Int.init)
    instance.platform = text(#","platform":"#)
    instance.release = text(#","release":"#)
    instance.commit = text(#","commit":"#)
    instance.region = text(#","region":"#)
    guard let started = number(#","started":"#), let lease = number(#","lease":"#) else {
      return nil
    }
    (instance.started, instance.lease) = (started, lease)
    if consume(#","meta":{"#) {
      guard let meta = texts() else { return nil }
      instance.meta = meta
    }
    instance.isPlain = consume(#","plain":true"#)
    return instance.isPossible ? instance : nil
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

  @inline(__always) private mutating func text(_ name: StaticString) -> String? {
    let before = index
    guard consume(name), let text = quoted() else {
      index = before
      return nil
    }
    return text
  }

  /// Texts by name behind a `{`, up to and with the `}`; nil for what is to be read by the decoder.
  private mutating func texts() -> [String: String]? {
    var found: [String: String] = [:]
    while let name = quoted(), consume(":"), let value = quoted() {
      guard found.updateValue(value, forKey: name) == nil, found.count <= Self.maxMeta else {
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

  /// Compares eight bytes at a time; of one that is known beforehand the compiler makes numbers.
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

  /// A whole number from 0 on that fits in any case, without leading zeros.
  private mutating func digits() -> Int64? {
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
  private mutating func quoted() -> String? {
    guard index < count, bytes[index] == UInt8(ascii: "\"") else { return nil }
    let start = index + 1
    var end = start
    while end < count, bytes[end] != UInt8(ascii: "\"") { end += 1 }
    guard end < count else { return nil }
    index = end + 1
    return String(
      decoding: UnsafeBufferPointer(start: bytes + start, count: end - start), as: UTF8.self)
  }

  private enum Plainness { case ascii, utf8 }

  /// nil where there are control characters or escapes, or where it is no UTF-8. What is printable
  /// ASCII throughout stands as we would write it; beyond that, some of it may have to be escaped.
  private static func plainness(_ bytes: UnsafeBufferPointer<UInt8>) -> Plainness? {
    // Of this arithmetic the compiler makes steps of many bytes at a time. In what is ASCII, the
    // top bit of a byte less 0x20 tells that it was below.
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
