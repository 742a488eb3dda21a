/// The header `Cookie` of a request, read as Express does it (npm's cookie).
public enum CookieHeader {
  /// The value of a cookie as it stands there, percent-encoded or not; of several with the same name, the first.
  ///
  /// - Returns: nil where there is none. Also for one with characters beyond ASCII: Express reads each byte of them
  ///   as a character, so that no signature fits.
  public static func value(of name: String, in header: String) -> String? {
    for pair in header.split(separator: ";") {
      guard let equals = pair.firstIndex(of: "="),
        pair[..<equals].trimmingBlanks.utf8.elementsEqual(name.utf8)
      else { continue }
      var value = pair[pair.index(after: equals)...].trimmingBlanks
      if value.utf8.count >= 2, value.first == "\"", value.last == "\"" {
        value = String(value.dropFirst().dropLast())
      }
      return value.utf8.allSatisfy { $0 < 0x80 } ? value : nil
    }
    return nil
  }
}

extension StringProtocol {
  /// The text without the blanks and line ends around it.
  package var trimmingBlanks: String {
    func isBlank(_ character: Character) -> Bool {
      character == " " || character == "\t" || character.isNewline
    }
    var text = Substring(self)
    while text.first.map(isBlank) == true { text.removeFirst() }
    while text.last.map(isBlank) == true { text.removeLast() }
    return String(text)
  }
}

/// `encodeURIComponent` and `decodeURIComponent` (ECMA-262, 19.2.6).
package enum PercentEncoding {
  private static let plain = Set(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()".utf8)

  static func encode(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
      if plain.contains(byte) { return String(Unicode.Scalar(byte)) }
      return "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }.joined()
  }

  /// nil where a percent sign has no two digits behind it, or the result is not UTF-8.
  package static func decode(_ text: String) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit)
      else { return nil }
      bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init)
  }
}
