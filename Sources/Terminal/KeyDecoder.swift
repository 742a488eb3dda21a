/// A key of a terminal's keyboard.
package enum Key: Sendable, Hashable {
  case character(Character)
  case enter, escape, backspace, interrupt, suspend
  case up, down, pageUp, pageDown, home, end
}

/// Turns the bytes that a terminal in raw mode sends into keys.
package struct KeyDecoder: Sendable {
  private static let escape: UInt8 = 0x1B
  /// What follows an escape character for keys without a character (ECMA-48, and xterm's codes).
  private static let sequences: [(bytes: String, key: Key)] = [
    ("[A", .up), ("[B", .down), ("OA", .up), ("OB", .down), ("[5~", .pageUp), ("[6~", .pageDown),
    ("[H", .home), ("[F", .end), ("OH", .home), ("OF", .end), ("[1~", .home), ("[4~", .end),
  ]

  /// The beginning of a character whose rest has not come yet.
  private var pending: [UInt8] = []

  package init() {}

  /// - Parameter bytes: what one read has given; an escape character at its end is the escape key.
  package mutating func decode(_ bytes: some Sequence<UInt8>) -> [Key] {
    var rest = (pending + bytes)[...]
    pending = []
    var keys: [Key] = []
    while let first = rest.first {
      if first == Self.escape {
        keys += Self.escaped(&rest)
      } else if first < 0x80 {
        rest.removeFirst()
        keys += Self.control(first)
      } else {
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        guard rest.count >= length else {
          pending = Array(rest)
          return keys
        }
        let text = String(decoding: rest.prefix(length), as: UTF8.self)
        keys += text.map(Key.character)
        rest = rest.dropFirst(length)
      }
    }
    return keys
  }

  private static func control(_ byte: UInt8) -> [Key] {
    switch byte {
    case 0x03: [.interrupt]
    case 0x1A: [.suspend]
    case 0x0D, 0x0A: [.enter]
    case 0x7F, 0x08: [.backspace]
    case 0x20...0x7E: [.character(Character(Unicode.Scalar(byte)))]
    default: []
    }
  }

  private static func escaped(_ rest: inout ArraySlice<UInt8>) -> [Key] {
    rest.removeFirst()
    guard let next = rest.first, next == UInt8(ascii: "[") || next == UInt8(ascii: "O") else {
      return [.escape]
    }
    for (bytes, key) in sequences where rest.starts(with: bytes.utf8) {
      rest = rest.dropFirst(bytes.utf8.count)
      return [key]
    }
    // An unknown sequence is skipped, up to its final byte.
    let end = rest.dropFirst().firstIndex { (0x40...0x7E).contains($0) }
    rest = end.map { rest[($0 + 1)...] } ?? []
    return []
  }
}
