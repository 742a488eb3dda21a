/// Why a TLS handshake failed.
public enum TLSFailure: Hashable, Sendable {
  /// The server does not speak TLS at this port.
  case notTLS
  case noAnswer
  /// The server ended the connection in the middle of the handshake.
  case ended
  /// The server's certificate is for another name.
  case otherName
  /// No authority that we trust has signed the server's certificate.
  case untrusted
  /// No authority that we trust has signed it, and this machine has no system authorities.
  case withoutAuthorities
  /// The server's certificate has expired.
  case expired
  /// The server's certificate is not valid yet.
  case notYetValid
  /// The server accepts no client without a certificate that it trusts.
  case certificateWanted
  /// The server does not accept the certificate that we present.
  case certificateRefused
  case noCommonAlgorithm
  case noCommonVersion
  /// Another failure, in the library's words.
  case other(String)

  /// Finds the cause in the library's message, since the library gives it in no other way.
  ///
  /// - Parameter hasBegun: whether the server took part in the handshake before it ended the
  ///   handshake.
  init(_ detail: String, hasBegun: Bool) {
    func says(_ words: String...) -> Bool { words.contains { detail.contains($0) } }
    if says("WRONG_VERSION_NUMBER", "HTTP_REQUEST") {
      self = .notTLS
    } else if says("failedToValidateHostname", "HostnameImpossible") {
      self = .otherName
    } else if says("CERTIFICATE_VERIFY_FAILED", "unableToValidate") {
      self = .untrusted
    } else if says("HANDSHAKE_FAILURE") {
      self = hasBegun ? .certificateWanted : .noCommonAlgorithm
    } else if says("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_EXPIRED") {
      self = .certificateWanted
    } else if says(
      "NO_COMMON_SIGNATURE_ALGORITHMS", "WRONG_SIGNATURE_TYPE", "WRONG_CURVE", "NO_SHARED",
      "INSUFFICIENT_SECURITY", "UNSUPPORTED_CERTIFICATE", "WRONG_CERTIFICATE_TYPE", "BAD_ECC_CERT",
      "UNKNOWN_CERTIFICATE_TYPE", "UNSUPPORTED_ALGORITHM")
    {
      self = .noCommonAlgorithm
    } else if says("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL") {
      self = .noCommonVersion
    } else if says("EOF during handshake") {
      self = .ended
    } else {
      self = .other(Self.reason(detail))
    }
  }

  /// The library's name for the failure (`UNRECOGNIZED_NAME`), without the place in the library's
  /// code.
  private static func reason(_ detail: String) -> String {
    let words = detail.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
    return words.last {
      $0.count > 4 && $0.allSatisfy { $0.isUppercase || $0.isNumber || $0 == "_" }
    }
    .map { $0.lowercased().replacing("_", with: " ") } ?? "for an unknown reason"
  }
}
