/// What a failed handshake means.
extension RedisError {
  static let untrusted = RedisError(
    .tls, "the server's certificate is not trusted",
    remedy: "add its authority with --tls-ca FILE, or skip the check with --tls-insecure")

  static let withoutAuthorities = RedisError(
    .tls, "the server's certificate is not trusted, since this machine has no authorities to trust",
    remedy:
      "install the package ca-certificates, or add its authority with --tls-ca FILE, or skip the "
      + "check with --tls-insecure")

  static let expired = RedisError(
    .tls, "the server's certificate has expired",
    remedy: "renew it, or skip the check with --tls-insecure")

  static let certificateWanted = RedisError(
    .tls, "the server takes no client without a certificate that it trusts",
    remedy: "present one with --tls-cert FILE and --tls-key FILE")

  static let certificateRefused = RedisError(
    .tls, "the server does not accept the certificate that we present",
    remedy: "give one with --tls-cert that is valid and of an authority that the server trusts")

  static let noCommonAlgorithm = RedisError(
    .tls, "the server and we have no TLS algorithm in common",
    remedy:
      "let it offer ECDHE with AES-GCM, AES-CBC or ChaCha20-Poly1305, and a certificate with an RSA, "
      + "ECDSA (P-256, P-384, P-521) or Ed25519 key")

  /// - Parameters:
  ///   - detail: the library's words.
  ///   - hasBegun: whether the server took part in the handshake before it ended it.
  static func tls(_ detail: String, hasBegun: Bool = true) -> RedisError {
    func says(_ words: String...) -> Bool { words.contains { detail.contains($0) } }
    if says("WRONG_VERSION_NUMBER", "HTTP_REQUEST") {
      return RedisError(
        .tls, "the server does not speak TLS here", remedy: "use redis:// instead of rediss://")
    }
    if says("failedToValidateHostname", "HostnameImpossible") {
      return RedisError(
        .tls, "the server's certificate is for another name",
        remedy: "use the name that it is for, or skip the check with --tls-insecure")
    }
    if says("CERTIFICATE_VERIFY_FAILED", "unableToValidate") { return .untrusted }
    if says("HANDSHAKE_FAILURE") { return hasBegun ? .certificateWanted : .noCommonAlgorithm }
    if says("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_EXPIRED") {
      return .certificateWanted
    }
    if says(
      "NO_COMMON_SIGNATURE_ALGORITHMS", "WRONG_SIGNATURE_TYPE", "WRONG_CURVE", "NO_SHARED",
      "INSUFFICIENT_SECURITY", "UNSUPPORTED_CERTIFICATE", "WRONG_CERTIFICATE_TYPE", "BAD_ECC_CERT",
      "UNKNOWN_CERTIFICATE_TYPE", "UNSUPPORTED_ALGORITHM")
    {
      return .noCommonAlgorithm
    }
    if says("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL") {
      return RedisError(
        .tls, "the server speaks another version of TLS", remedy: "let it speak TLS 1.2 or 1.3")
    }
    return RedisError(
      .tls, "the TLS handshake failed (\(detail.prefix(200)))",
      remedy: "check the scheme of the URL and the server's TLS settings")
  }
}
