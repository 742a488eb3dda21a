/// The members of a JSON object, in the order in which they are added.
///
/// Foundation's encoder keeps no order of members and cannot leave out the braces, and both matter
/// here: scripts splice records, and the contract shows events in one order. Members that are nil
/// or empty are left out.
package struct JSONText: Sendable {
  package private(set) var bytes: [UInt8] = []

  /// Reserves at once the memory that most objects need.
  package init() { bytes.reserveCapacity(512) }

  package mutating func member(_ name: StaticString, _ value: String?) {
    if let value, !value.isEmpty { always(name, value) }
  }

  /// A member that is there even if it is empty.
  package mutating func always(_ name: StaticString, _ value: String) {
    key(name)
    string(value)
  }

  package mutating func member(_ name: StaticString, _ value: Int64?) {
    guard let value else { return }
    key(name)
    number(value)
  }

  package mutating func member(_ name: StaticString, _ value: Bool) {
    key(name)
    bytes += (value ? "true" : "false").utf8
  }

  /// A member whose value is JSON already.
  package mutating func member(_ name: StaticString, json: [UInt8]) {
    key(name)
    bytes += json
  }

  /// An object of strings, sorted by key.
  package mutating func member(_ name: StaticString, _ values: [String: String]) {
    guard !values.isEmpty else { return }
    key(name)
    bytes += Self.object(values)
  }

  /// An object of strings, sorted by key.
  static func object(_ values: [String: String]) -> [UInt8] {
    var inner = JSONText()
    for (name, value) in values.sorted(by: { $0.key < $1.key }) {
      if !inner.bytes.isEmpty { inner.bytes.append(0x2C) }
      inner.string(name)
      inner.bytes.append(0x3A)
      inner.string(value)
    }
    return inner.object
  }

  /// The members in braces.
  package var object: [UInt8] { [0x7B] + bytes + [0x7D] }

  /// The object as a whole line.
  package var line: [UInt8] {
    var line: [UInt8] = []
    addLine(to: &line)
    return line
  }

  /// Adds the object as a whole line.
  package func addLine(to lines: inout [UInt8]) {
    lines.append(0x7B)
    lines += bytes
    lines.append(0x7D)
    lines.append(0x0A)
  }

  private mutating func key(_ name: StaticString) {
    if !bytes.isEmpty { bytes.append(0x2C) }
    bytes.append(0x22)
    name.withUTF8Buffer { bytes += $0 }
    bytes.append(0x22)
    bytes.append(0x3A)
  }

  /// Writes the digits directly into the bytes; a string in between would cost four times as much.
  private mutating func number(_ value: Int64) {
    guard value >= 0 else { return bytes.append(contentsOf: "\(value)".utf8) }
    var rest = value
    repeat {
      bytes.append(UInt8(ascii: "0"))
      rest /= 10
    } while rest > 0
    var index = bytes.count
    rest = value
    while rest > 0 {
      index -= 1
      bytes[index] += UInt8(rest % 10)
      rest /= 10
    }
  }

  /// Control and bidirectional characters come out as escapes, so that a line of JSON is harmless
  /// on a terminal too.
  private mutating func string(_ value: String) {
    bytes.append(0x22)
    defer { bytes.append(0x22) }
    // Nearly all strings need no escapes.
    var value = value
    let isVerbatim = value.withUTF8 { text in
      let isVerbatim = text.allSatisfy {
        $0.isPrintableASCII && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
      }
      if isVerbatim { bytes += text }
      return isVerbatim
    }
    guard !isVerbatim else { return }
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"", "\\":
        bytes.append(0x5C)
        bytes.append(UInt8(ascii: scalar))
      case "\n": bytes += "\\n".utf8
      case _ where scalar.isUnsafeInText: bytes += scalar.jsonEscape.utf8
      default: bytes += String(scalar).utf8
      }
    }
  }
}

extension UInt8 {
  package var isPrintableASCII: Bool { (0x20...0x7E).contains(self) }
}

extension Unicode.Scalar {
  /// Whether the character could move a cursor, hide or reorder text: controls (C0, DEL, C1), line
  /// and paragraph separators, and the formatting characters (Unicode category Cf, which holds the
  /// bidirectional ones, UAX #9) except for the joiners that emoji and scripts need.
  package var isUnsafeInText: Bool {
    switch properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator, .surrogate: true
    case .format: value != 0x200C && value != 0x200D
    default: false
    }
  }

  /// The character as escapes of JSON (RFC 8259, 7).
  package var jsonEscape: String {
    String(self).utf16.map { unit in
      let hex = String(unit, radix: 16)
      return "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
    }.joined()
  }
}
