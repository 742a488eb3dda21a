/// Reads an event as our scripts write it: these members, in this order, without white space and
/// escapes. Fifty times as fast as Foundation's decoder, which reads everything else.
///
/// So it may give up at any time, but must never read what the decoder would read otherwise. Texts
/// are found and not taken: the instance keeps the bytes and where each stands.
///
/// It looks at the bytes in memory, since to have each index checked by the array again would take
/// half of its time: no index is used that was not compared with the end.
struct EventScanner {
  /// More members of `meta` are the decoder's to look for doubles in.
  private static let mostMeta = 32

  private let bytes: UnsafePointer<UInt8>
  private let count: Int
  private var place = 0

  private init?(_ buffer: UnsafeBufferPointer<UInt8>, place: Int = 0) {
    guard let bytes = buffer.baseAddress, (0...buffer.count).contains(place) else { return nil }
    (self.bytes, count, self.place) = (bytes, buffer.count, place)
  }

  /// - Returns: nil for what is to be read by the decoder.
  static func scan(_ message: ArraySlice<UInt8>) -> Event? {
    message.withUnsafeBufferPointer { bytes in
      guard let kind = plainness(bytes), var scanner = EventScanner(bytes) else { return nil }
      return scanner.event(message, isPlain: kind == .ascii)
    }
  }

  /// The same for an instance's record, which begins at an index and ends with the bytes.
  static func scanRecord(
    _ stored: ArraySlice<UInt8>, from start: Int
  ) -> (instance: Instance, isASCII: Bool)? {
    stored.withUnsafeBufferPointer { bytes in
      guard let kind = plainness(bytes),
        var scanner = EventScanner(bytes, place: start - stored.startIndex),
        let instance = scanner.instance(of: stored, isWhole: true), scanner.takeEnd()
      else { return nil }
      return (instance, kind == .ascii)
    }
  }

  /// Reads the object of an instance's `meta`; nil where it is not as we write it, or has escapes.
  static func texts(_ bytes: ArraySlice<UInt8>, in range: TextRange) -> [String: String]? {
    let object = bytes[range.indices(in: bytes)]
    guard !object.contains(UInt8(ascii: "\\")) else { return nil }
    let found = object.withUnsafeBufferPointer { bytes -> [TextRange]? in
      guard var scanner = EventScanner(bytes), scanner.take("{"), let found = scanner.pairs(),
        scanner.place == bytes.count
      else { return nil }
      return found
    }
    guard let found else { return nil }
    var texts: [String: String] = [:]
    for index in stride(from: 0, to: found.count - 1, by: 2) {
      if let name = found[index].text(in: object) {
        texts[name] = found[index + 1].text(in: object)
      }
    }
    return texts
  }

  // MARK: Objects

  @inline(__always) private mutating func event(
    _ message: ArraySlice<UInt8>, isPlain: Bool
  ) -> Event? {
    guard let version = number(#"{"v":"#), let type = type(),
      let epoch = number(#","epoch":"#), let seq = number(#","seq":"#),
      let at = number(#","at":"#), let instance = instance(of: message, isWhole: false)
    else { return nil }
    let reason = text(#","reason":"#)
    let exit = number(#","exit":"#)
    let signal = text(#","signal":"#)
    let expired = number(#","expired":"#)
    guard takeEnd(), Event.isPossible(version: version, epoch: epoch, seq: seq, at: at) else {
      return nil
    }
    return Event(
      type: type, position: Position(epoch: epoch, seq: seq), at: at, instance: instance,
      reason: reason.text(in: message), exit: exit, signal: signal.text(in: message),
      expired: expired, isWire: isPlain)
  }

  private mutating func type() -> EventType? {
    guard take(#","type":""#) else { return nil }
    if take(#"start""#) { return .start }
    if take(#"stop""#) { return .stop }
    if take(#"stopping""#) { return .stopping }
    if take(#"lost""#) { return .lost }
    if take(#"back""#) { return .back }
    return take(#"forgotten""#) ? .forgotten : nil
  }

  @inline(__always) private mutating func instance(
    of source: ArraySlice<UInt8>, isWhole: Bool
  ) -> Instance? {
    var texts = Instance.Texts(
      app: isWhole ? text(#"{"app":"#) : text(#","app":"#), id: text(#","id":"#),
      name: text(#","name":"#))
    guard !texts.app.isAbsent, !texts.id.isAbsent, !texts.name.isAbsent else { return nil }
    texts.process = text(#","process":"#)
    texts.host = text(#","host":"#)
    let pid = number(#","pid":"#)
    texts.platform = text(#","platform":"#)
    texts.release = text(#","release":"#)
    texts.commit = text(#","commit":"#)
    texts.region = text(#","region":"#)
    guard let started = number(#","started":"#), let lease = number(#","lease":"#) else {
      return nil
    }
    let metaStart = place + #","meta":"#.utf8.count
    if take(#","meta":{"#) {
      guard let pairs = pairs(), areDistinct(pairs) else { return nil }
      texts.meta = TextRange(from: metaStart, to: place)
    }
    return Instance(
      reading: source, texts, pid: pid.map(Int.init), started: started, lease: lease,
      isPlain: take(#","plain":true"#))
  }

  // MARK: Members; where one is not what it should be, nothing is taken

  @inline(__always) private mutating func number(_ name: StaticString) -> Int64? {
    let before = place
    guard take(name), let number = digits() else {
      place = before
      return nil
    }
    return number
  }

  @inline(__always) private mutating func text(_ name: StaticString) -> TextRange {
    let before = place
    guard take(name), let text = quoted() else {
      place = before
      return .absent
    }
    return text
  }

  /// Texts by name behind a `{`, up to and with the `}`: each name and its text in turn.
  private mutating func pairs() -> [TextRange]? {
    var found: [TextRange] = []
    while let name = quoted(), take(":"), let value = quoted() {
      found += [name, value]
      if take("}") { return found }
      guard take(",") else { return nil }
    }
    return nil
  }

  private func areDistinct(_ pairs: [TextRange]) -> Bool {
    guard pairs.count <= 2 * Self.mostMeta else { return false }
    for index in stride(from: 2, to: pairs.count, by: 2) {
      for earlier in stride(from: 0, to: index, by: 2)
      where areEqual(pairs[earlier], pairs[index]) { return false }
    }
    return true
  }

  private func areEqual(_ one: TextRange, _ other: TextRange) -> Bool {
    let buffer = UnsafeBufferPointer(start: bytes, count: count)
    return buffer[one.indices(in: buffer)].elementsEqual(buffer[other.indices(in: buffer)])
  }

  // MARK: Bytes

  @inline(__always) private mutating func take(_ wanted: StaticString) -> Bool {
    let length = wanted.utf8CodeUnitCount
    guard count - place >= length,
      Self.areSame(bytes + place, wanted.utf8Start, length: length)
    else { return false }
    place += length
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

  private mutating func takeEnd() -> Bool { take("}") && place == count }

  /// A whole number from 0 on that fits in any case, without leading zeros.
  private mutating func digits() -> Int64? {
    let start = place
    let end = min(count, start + 18)
    var index = start
    var number: Int64 = 0
    while index < end {
      let digit = bytes[index] &- 0x30
      guard digit < 10 else { break }
      number = number * 10 + Int64(digit)
      index += 1
    }
    guard index > start, index - start == 1 || bytes[start] != 0x30 else { return nil }
    place = index
    return number
  }

  /// What stands between two quotes.
  private mutating func quoted() -> TextRange? {
    guard place < count, bytes[place] == UInt8(ascii: "\"") else { return nil }
    let start = place + 1
    var end = start
    while end < count, bytes[end] != UInt8(ascii: "\"") { end += 1 }
    guard end < count else { return nil }
    place = end + 1
    return TextRange(from: start, to: end)
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
