import ExpressSessions
import Presence

/// A session's content for people and programs. Members whose names say that they hold a secret are hidden, and so
/// are texts that contain the session's own id; characters that could disturb a terminal are escaped.
package struct MaskedJSON {
  /// In the names of members, in small letters without other characters.
  private static let secretNames = [
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "apikey", "accesskey",
    "privatekey", "credential", "authorization", "bearer", "jwt", "csrf", "xsrf", "signature",
    "sessionid", "connectsid",
  ]
  /// The same, of names that are not only a part of another word.
  private static let wholeSecretNames: Set<String> = [
    "pass", "pin", "otp", "totp", "sid", "salt", "hash", "key", "auth", "oauth",
  ]
  static let mask = "***"
  private static let maskedText = Array("\"\(mask)\"".utf8)

  private let document: JSONDocument
  private let id: SessionID
  private let isRevealed: Bool
  private let isIndented: Bool

  package init(_ content: SessionContent, of id: SessionID, isRevealed: Bool, isIndented: Bool) {
    document = content.document
    (self.id, self.isRevealed, self.isIndented) = (id, isRevealed, isIndented)
  }

  /// The content as JSON, without a line end behind it.
  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    add(document.root, level: 0, to: &bytes)
    return bytes
  }

  private func add(_ value: JSONValue, level: Int, to bytes: inout [UInt8]) {
    switch value.kind {
    case .object:
      addSequence(document.members(of: value), "{", "}", level, to: &bytes) { member, bytes in
        if !isRevealed, holdsID(member.name) {
          bytes += Self.maskedText
        } else {
          addText(member.name, to: &bytes)
        }
        bytes += (isIndented ? ": " : ":").utf8
        guard isRevealed || !isSecret(member.name) else {
          bytes += Self.maskedText
          return
        }
        add(member.value, level: level + 1, to: &bytes)
      }
    case .array:
      addSequence(document.elements(of: value), "[", "]", level, to: &bytes) { element, bytes in
        add(element, level: level + 1, to: &bytes)
      }
    case .string where !isRevealed && holdsID(value.range): bytes += Self.maskedText
    case .string: addText(value.range, to: &bytes)
    case .number, .bool, .null: bytes += document[value]
    }
  }

  private func addSequence<Item>(
    _ items: [Item], _ begin: Unicode.Scalar, _ end: Unicode.Scalar, _ level: Int,
    to bytes: inout [UInt8], _ add: (Item, inout [UInt8]) -> Void
  ) {
    bytes.append(UInt8(ascii: begin))
    for (index, item) in items.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      breakLine(level + 1, to: &bytes)
      add(item, &bytes)
    }
    if !items.isEmpty { breakLine(level, to: &bytes) }
    bytes.append(UInt8(ascii: end))
  }

  private func breakLine(_ level: Int, to bytes: inout [UInt8]) {
    guard isIndented else { return }
    bytes.append(UInt8(ascii: "\n"))
    bytes += repeatElement(UInt8(ascii: " "), count: 2 * level)
  }

  /// Copies a string as it is written, since its escapes are harmless already.
  private func addText(_ range: Range<Int>, to bytes: inout [UInt8]) {
    for scalar in String(decoding: document[range], as: UTF8.self).unicodeScalars {
      if scalar.isUnsafeInText {
        bytes += scalar.jsonEscape.utf8
      } else {
        bytes += String(scalar).utf8
      }
    }
  }

  private func isSecret(_ name: Range<Int>) -> Bool {
    let plain = String(decoding: document.codeUnits(name), as: UTF16.self).lowercased()
      .filter(\.isLetter)
    return Self.wholeSecretNames.contains(plain) || Self.secretNames.contains { plain.contains($0) }
  }

  private func holdsID(_ range: Range<Int>) -> Bool {
    let text = String(decoding: document.codeUnits(range), as: UTF16.self)
    return Array(text.utf8).holds(id)
  }
}
