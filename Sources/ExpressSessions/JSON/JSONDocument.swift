import PaasbusRedis

/// A value in a ``JSONDocument``.
package struct JSONValue: Sendable, Hashable {
  package enum Kind: Sendable {
    case object, array, string, number, bool, null
  }

  package var kind: Kind
  /// Where it is written.
  package var range: Range<Int>
}

/// A JSON text that is known to be one. Its values are found where they stand, so that everything that is not
/// changed stays as it is, to the byte.
package struct JSONDocument: Sendable {
  /// Why bytes are no document.
  package enum Fault: Error, Sendable, Hashable {
    case tooLarge
    case tooDeep
    case malformed
  }

  /// The name of a member, as it is written, and its value.
  package struct Member: Sendable {
    package var name: Range<Int>
    package var value: JSONValue
  }

  /// The most bytes that a text may have.
  package static let maxSize = 256 * 1024
  /// How many arrays and objects may be nested.
  package static let maxDepth = 64

  package let bytes: [UInt8]
  package let root: JSONValue
  /// Those of the root, which are looked at several times.
  private let rootMembers: [Member]

  /// - Throws: ``Fault``.
  package init(_ bytes: [UInt8]) throws(Fault) {
    guard bytes.count <= Self.maxSize else { throw .tooLarge }
    guard bytes.allSatisfy({ $0 < 0x80 }) || String(validating: bytes, as: UTF8.self) != nil else {
      throw .malformed
    }
    self.bytes = bytes
    var members: [Member] = []
    var syntax = JSONSyntax(bytes)
    do {
      syntax.skipBlanks()
      root = try syntax.value(depth: Self.maxDepth) { members.append(Member(name: $0, value: $1)) }
    } catch {
      throw error.isTooDeep ? .tooDeep : .malformed
    }
    guard syntax.isAtEnd else { throw .malformed }
    rootMembers = members
  }

  package subscript(range: Range<Int>) -> ArraySlice<UInt8> {
    bytes[range.clamped(to: bytes.indices)]
  }

  package subscript(value: JSONValue) -> ArraySlice<UInt8> { self[value.range] }

  // MARK: Members

  /// The members of an object in their order, those with the same name among them; none for another value.
  package func members(of value: JSONValue) -> [Member] {
    guard value != root else { return rootMembers }
    var members: [Member] = []
    var syntax = JSONSyntax(bytes, from: value.range.lowerBound)
    try? syntax.members(depth: Self.maxDepth) { members.append(Member(name: $0, value: $1)) }
    return members
  }

  /// The elements of an array; none for another value.
  package func elements(of value: JSONValue) -> [JSONValue] {
    var elements: [JSONValue] = []
    var syntax = JSONSyntax(bytes, from: value.range.lowerBound)
    try? syntax.elements(depth: Self.maxDepth) { elements.append($0) }
    return elements
  }

  /// The member of an object that JavaScript sees under a name: of several, the last. nil where there is none,
  /// or the value is no object.
  package func member(_ name: String, of value: JSONValue) -> JSONValue? {
    members(of: value).last { isName($0.name, name) }?.value
  }

  private func isName(_ written: Range<Int>, _ name: String) -> Bool {
    let inner = self[written].dropFirst().dropLast()
    return inner.contains(UInt8(ascii: "\\"))
      ? codeUnits(written).elementsEqual(name.utf16) : inner.elementsEqual(name.utf8)
  }

  // MARK: Texts

  /// The text of a string in UTF-16, as JavaScript has it: there may be surrogates without their partner.
  package func codeUnits(_ string: Range<Int>) -> [UInt16] {
    let inner = self[string].dropFirst().dropLast()
    guard inner.contains(UInt8(ascii: "\\")) else {
      return Array(String(decoding: inner, as: UTF8.self).utf16)
    }
    var units: [UInt16] = []
    var rest = inner
    while let position = rest.firstIndex(of: UInt8(ascii: "\\")) {
      units += String(decoding: rest[..<position], as: UTF8.self).utf16
      rest = rest[position...].dropFirst()
      units.append(Self.codeUnit(escapedBy: &rest))
    }
    return units + String(decoding: rest, as: UTF8.self).utf16
  }

  /// The text of a string; nil where it has a surrogate without its partner, or the value is no string.
  package func text(of value: JSONValue) -> String? {
    guard value.kind == .string else { return nil }
    let inner = self[value].dropFirst().dropLast()
    guard inner.contains(UInt8(ascii: "\\")) else { return String(decoding: inner, as: UTF8.self) }
    return String(validating: codeUnits(value.range), as: UTF16.self)
  }

  /// Reads what stands behind a backslash.
  private static func codeUnit(escapedBy rest: inout ArraySlice<UInt8>) -> UInt16 {
    switch rest.popFirst() {
    case UInt8(ascii: "b"): return 0x08
    case UInt8(ascii: "f"): return 0x0C
    case UInt8(ascii: "n"): return 0x0A
    case UInt8(ascii: "r"): return 0x0D
    case UInt8(ascii: "t"): return 0x09
    case UInt8(ascii: "u"):
      defer { rest = rest.dropFirst(4) }
      return UInt16(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16) ?? 0xFFFD
    case let letter?: return UInt16(letter)
    case nil: return 0xFFFD
    }
  }

  /// A text with this object's member of that name replaced, or added at its end.
  ///
  /// - Parameter value: the new value as JSON.
  package func replacing(
    _ name: String, of object: JSONValue, with value: [UInt8]
  ) -> [UInt8] {
    if let old = member(name, of: object) {
      return Array(bytes[..<old.range.lowerBound] + value + bytes[old.range.upperBound...])
    }
    let end = object.range.upperBound - 1
    let comma = members(of: object).isEmpty ? "" : ","
    return Array(
      bytes[..<end] + Array("\(comma)\(Self.quoted(name)):".utf8) + value + bytes[end...])
  }

  /// A text as JSON.
  package static func quoted(_ text: String) -> String {
    let escaped = text.unicodeScalars.map { scalar in
      switch scalar {
      case "\"", "\\": "\\\(scalar)"
      case _ where scalar.value < 0x20:
        "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      default: String(scalar)
      }
    }
    return "\"\(escaped.joined())\""
  }
}
