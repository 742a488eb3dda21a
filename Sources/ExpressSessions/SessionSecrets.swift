import Crypto
import PaasbusRedis

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The secrets of an app's session cookies. The first one signs, and all of them verify, so that a secret can be
/// replaced without logging everybody out.
///
/// The value of a cookie is `s:`, the id, a dot, and the HMAC-SHA256 of the id in base64 without padding, all of it
/// percent-encoded (cookie-signature and express-session).
public struct SessionSecrets: Sendable {
  /// A cookie whose signature is right.
  public struct Verified: Sendable, Hashable {
    /// The session that it names.
    public var id: SessionID
    /// Which of the secrets signed it, counted from 0.
    public var secret: Int
  }

  private let keys: [SymmetricKey]

  /// - Returns: nil where there is no secret, or an empty one, with which everybody could sign.
  public init?(_ secrets: [String]) {
    guard !secrets.isEmpty, !secrets.contains(where: \.isEmpty) else { return nil }
    keys = secrets.map { SymmetricKey(data: Array($0.utf8)) }
  }

  /// How many secrets there are.
  public var count: Int { keys.count }

  /// The value of the cookie for a session, signed with the first secret.
  public func cookie(for id: SessionID) -> String {
    let signature = keys.first.map { Self.signature(of: id.bytes, $0) } ?? []
    let value = Array("s:".utf8) + id.bytes + Array(".".utf8) + signature
    return PercentEncoding.encode(value)
  }

  /// Reads a cookie, encoded or not.
  ///
  /// - Returns: nil for one that is not signed, or not with one of the secrets, and for an empty id.
  public func verify(_ cookie: String) -> Verified? {
    guard let (id, signature) = Self.parts(of: cookie), !id.isEmpty else { return nil }
    // The text is compared, as several texts stand for the same bytes in base64.
    let index = keys.firstIndex {
      ConstantTime.isEqual(Self.signature(of: id, $0), signature)
    }
    return index.map { Verified(id: SessionID(id), secret: $0) }
  }

  /// Whether a text has the form of a signed cookie, whoever signed it.
  package static func isCookie(_ text: String) -> Bool {
    guard let (_, signature) = parts(of: text) else { return false }
    return signature.count == 43
  }

  private static func parts(of cookie: String) -> (id: [UInt8], signature: [UInt8])? {
    let value = Array((PercentEncoding.decode(cookie) ?? cookie).utf8)
    guard value.starts(with: "s:".utf8), let dot = value.lastIndex(of: UInt8(ascii: ".")) else {
      return nil
    }
    return (Array(value[2..<max(2, dot)]), Array(value[(dot + 1)...]))
  }

  private static func signature(of id: [UInt8], _ key: SymmetricKey) -> [UInt8] {
    let code = HMAC<SHA256>.authenticationCode(for: id, using: key)
    let text = Data(code).base64EncodedString().utf8
    return Array(text.prefix { $0 != UInt8(ascii: "=") })
  }
}

/// Comparisons that tell nothing by the time that they take.
package enum ConstantTime {
  /// Differs in every process, so that no client knows the bytes that are really compared.
  private static let key = SymmetricKey(size: .bits256)

  package static func isEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    let code = HMAC<SHA256>.authenticationCode(for: one, using: key)
    return HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: other, using: key)
  }
}
