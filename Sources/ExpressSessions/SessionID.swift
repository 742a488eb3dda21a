import Crypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The name of a session (SID), which is a credential: whoever knows it and the app's secret is logged in.
///
/// It is compared byte for byte. The app's `genid` can make it of anything.
public struct SessionID: Sendable, Hashable {
  /// What stands in the key behind the prefix.
  public let bytes: [UInt8]

  /// An id that is already known.
  public init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

  /// An id that is already known.
  public init(_ text: String) { self.init(text.utf8) }

  /// A new id of 192 random bits in 32 characters, as express-session makes them.
  public static func random() -> SessionID {
    while true {
      let random = SymmetricKey(size: .bits192).withUnsafeBytes { Data($0) }
      let text = random.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
      // On a command line it would look like an option.
      if !text.hasPrefix("-") { return SessionID(text) }
    }
  }

  /// The id as text; bytes that are not UTF-8 are replaced.
  public var text: String { String(decoding: bytes, as: UTF8.self) }

  /// What may be shown of it: its first six characters, at most half of it, and eight digits of its SHA-256.
  /// It tells two sessions apart, and cannot be used to log in.
  public var short: String { "\(shownStart)~\(fingerprint)" }

  /// The characters of which ``short`` shows the first.
  private var shownStart: Substring { text.prefix(min(6, text.count / 2)) }

  /// Whether a text has the form of ``short``.
  package static func isShort(_ text: String) -> Bool {
    let end = text.utf8.suffix(9)
    return end.first == UInt8(ascii: "~")
      && end.dropFirst().allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
  }

  private var fingerprint: String {
    let number = SHA256.hash(data: bytes).prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
