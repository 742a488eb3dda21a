/// Reads JSON text (RFC 8259) from a position on, without copying anything.
///
/// It accepts exactly what JavaScript's `JSON.parse` accepts, as a session that the app cannot parse makes it
/// answer 500, and one that only we can parse would show a user whom the app does not see.
struct JSONSyntax {
  /// Text that is not JSON, or is nested too deep.
  struct Failure: Error {
    var isTooDeep = false
  }

  private let bytes: [UInt8]
  private(set) var position: Int

  init(_ bytes: [UInt8], from position: Int = 0) {
    (self.bytes, self.position) = (bytes, position)
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  var isAtEnd: Bool { position >= bytes.count }

  mutating func skipBlanks() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      position += 1
    }
  }

  /// Passes over a byte if it is the next one.
  mutating func skip(_ byte: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: byte) else { return false }
    position += 1
    return true
  }

  /// Passes over a value and the blanks behind it.
  ///
  /// - Parameters:
  ///   - depth: how many arrays and objects may be nested in it, itself included.
  ///   - found: gets the name of each member of an object, in quotes, and its value.
  /// - Throws: ``Failure``.
  mutating func value(
    depth: Int, _ found: (Range<Int>, JSONValue) -> Void = { _, _ in }
  ) throws(Failure) -> JSONValue {
    let start = position
    let kind: JSONValue.Kind
    switch next {
    case UInt8(ascii: "{"):
      kind = .object
      try members(depth: depth, found)
    case UInt8(ascii: "["):
      kind = .array
      try elements(depth: depth) { _ in }
    case UInt8(ascii: "\""):
      kind = .string
      try string()
    case UInt8(ascii: "t"):
      kind = .bool
      try word("true")
    case UInt8(ascii: "f"):
      kind = .bool
      try word("false")
    case UInt8(ascii: "n"):
      kind = .null
      try word("null")
    default:
      kind = .number
      try number()
    }
    let value = JSONValue(kind: kind, range: start..<position)
    skipBlanks()
    return value
  }

  /// Passes over an object.
  ///
  /// - Parameter found: gets the name of each member, in quotes, and its value.
  mutating func members(
    depth: Int, _ found: (Range<Int>, JSONValue) -> Void
  ) throws(Failure) {
    try sequence("{", "}", depth: depth) { (syntax) throws(Failure) in
      let start = syntax.position
      try syntax.string()
      let name = start..<syntax.position
      syntax.skipBlanks()
      guard syntax.skip(":") else { throw Failure() }
      syntax.skipBlanks()
      found(name, try syntax.value(depth: depth - 1))
    }
  }

  /// Passes over an array.
  mutating func elements(depth: Int, _ found: (JSONValue) -> Void) throws(Failure) {
    try sequence("[", "]", depth: depth) { (syntax) throws(Failure) in
      found(try syntax.value(depth: depth - 1))
    }
  }

  private mutating func sequence(
    _ begin: Unicode.Scalar, _ end: Unicode.Scalar, depth: Int,
    _ item: (inout JSONSyntax) throws(Failure) -> Void
  ) throws(Failure) {
    guard depth > 0 else { throw Failure(isTooDeep: true) }
    guard skip(begin) else { throw Failure() }
    skipBlanks()
    if skip(end) { return }
    while true {
      try item(&self)
      if skip(end) { return }
      guard skip(",") else { throw Failure() }
      skipBlanks()
    }
  }

  private mutating func word(_ word: String) throws(Failure) {
    guard bytes[position...].starts(with: word.utf8) else { throw Failure() }
    position += word.utf8.count
  }

  private mutating func string() throws(Failure) {
    guard skip("\"") else { throw Failure() }
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return
      case UInt8(ascii: "\\"): try escape()
      case ..<0x20: throw Failure()
      default: break
      }
    }
    throw Failure()
  }

  private mutating func escape() throws(Failure) {
    guard let letter = next else { throw Failure() }
    position += 1
    guard letter == UInt8(ascii: "u") else {
      guard #""\/bfnrt"#.utf8.contains(letter) else { throw Failure() }
      return
    }
    for _ in 0..<4 {
      guard let digit = next, Character(Unicode.Scalar(digit)).isHexDigit else { throw Failure() }
      position += 1
    }
  }

  private mutating func number() throws(Failure) {
    _ = skip("-")
    if !skip("0") { try digits() }
    if skip(".") { try digits() }
    if skip("e") || skip("E") {
      if !skip("+") { _ = skip("-") }
      try digits()
    }
  }

  private mutating func digits() throws(Failure) {
    let start = position
    while let digit = next, (0x30...0x39).contains(digit) { position += 1 }
    guard position > start else { throw Failure() }
  }
}
