import Crypto
import ExpressSessions

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Digests and comparisons of secrets.
enum Secrets {
  /// Compares in a time that does not depend on where two texts differ.
  static func isEqual(_ one: String, _ other: String) -> Bool {
    ConstantTime.isEqual(Array(one.utf8), Array(other.utf8))
  }

  /// 256 random bits in hexadecimal.
  static func token() -> String {
    SymmetricKey(size: .bits256).withUnsafeBytes { hexadecimal($0) }
  }

  /// The SHA-256 of a text, in hexadecimal.
  static func digest(_ text: String) -> String { hexadecimal(SHA256.hash(data: Data(text.utf8))) }

  /// The HMAC (SHA-256) of a text under a key, in hexadecimal.
  static func signature(of text: String, key: String) -> String {
    hexadecimal(
      HMAC<SHA256>.authenticationCode(
        for: Data(text.utf8), using: SymmetricKey(data: Data(key.utf8))))
  }

  static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The user and password of `Authorization: Basic` (RFC 7617); nil for another scheme.
  static func basicPassword(_ authorization: String) -> String? {
    guard let text = credentials(authorization, scheme: "basic"),
      let data = Data(base64Encoded: text), let pair = String(validating: data, as: UTF8.self),
      let colon = pair.firstIndex(of: ":")
    else { return nil }
    return String(pair[pair.index(after: colon)...])
  }

  /// The token of `Authorization: Bearer` (RFC 6750); nil for another scheme.
  static func bearerToken(_ authorization: String) -> String? {
    credentials(authorization, scheme: "bearer")
  }

  private static func credentials(_ authorization: String, scheme: String) -> String? {
    let parts = authorization.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == scheme else { return nil }
    return parts[1].trimmingBlanks
  }
}
