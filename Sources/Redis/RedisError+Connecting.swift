import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension RedisError {
  /// Names the cause of a failed connection in a person's words.
  init(connecting error: any Error) {
    switch error {
    case let error as RedisError: self = error
    case let error as NIOConnectionError: self = Self.connection(error)
    case let error as IOError: self = Self.unreachable(error.cause)
    case ChannelError.connectTimeout:
      self = Self.unreachable("no answer within the time-out")
    case let error as NIOSSLError: self = Self.tls("\(error)")
    case let error as NIOSSLExtraError: self = Self.tls("\(error)")
    case let error as BoringSSLError: self = Self.tls("\(error)")
    default: self = Self.unreachable("\(error)")
    }
  }

  /// The same error with the address it happened at; never with a password.
  func at(_ endpoint: RedisEndpoint) -> RedisError {
    guard
      kind == .unreachable || kind == .tls || kind == .nonsense || kind == .passing
        || kind == .elsewhere,
      !problem.contains("://")
    else { return self }
    var copy = self
    copy.problem = "\(problem) (\(endpoint.redactedURL))"
    if case .unixSocket = endpoint.address, remedy == Self.hostRemedy {
      copy.remedy = "check that the server runs and that this is the path of its socket"
    }
    return copy
  }

  private static func unreachable(_ cause: String) -> RedisError {
    RedisError(.unreachable, "cannot reach Redis: \(cause)", remedy: hostRemedy)
  }

  private static let hostRemedy = "check that it runs and that host and port of the URL are right"

  private static func connection(_ error: NIOConnectionError) -> RedisError {
    if let failed = error.connectionErrors.first?.error {
      if let failed = failed as? IOError { return unreachable(failed.cause) }
      if case ChannelError.connectTimeout = failed {
        return unreachable("no answer within the time-out")
      }
      return unreachable("\(failed)")
    }
    if error.dnsAError != nil || error.dnsAAAAError != nil {
      return unresolved(error.host)
    }
    return unreachable("no address of \(error.host) answers")
  }

  static func unresolved(_ host: String) -> RedisError {
    unreachable("the name \(host) does not resolve")
  }

  static let untrusted = RedisError(
    .tls, "the server's certificate is not trusted",
    remedy: "add its authority with --tls-ca FILE, or skip the check with --tls-insecure")

  private static func tls(_ detail: String) -> RedisError {
    if detail.contains("WRONG_VERSION_NUMBER") || detail.contains("HTTP_REQUEST") {
      return RedisError(
        .tls, "the server does not speak TLS here", remedy: "use redis:// instead of rediss://")
    }
    if detail.contains("failedToValidateHostname") || detail.contains("HostnameImpossible") {
      return RedisError(
        .tls, "the server's certificate is for another name",
        remedy: "use the name that it is for, or skip the check with --tls-insecure")
    }
    if detail.contains("CERTIFICATE_VERIFY_FAILED") || detail.contains("unableToValidate") {
      return .untrusted
    }
    if detail.contains("CERTIFICATE_REQUIRED") || detail.contains("HANDSHAKE_FAILURE")
      || detail.contains("BAD_CERTIFICATE") || detail.contains("UNKNOWN_CA")
    {
      return RedisError(
        .tls, "the server takes no client without a certificate that it trusts",
        remedy: "present one with --tls-cert FILE and --tls-key FILE")
    }
    if detail.contains("PROTOCOL_VERSION") {
      return RedisError(
        .tls, "the server speaks another version of TLS", remedy: "let it speak TLS 1.2 or 1.3")
    }
    return RedisError(
      .tls, "the TLS handshake failed (\(detail.prefix(200)))",
      remedy: "check the scheme of the URL and the server's TLS settings")
  }
}

extension IOError {
  /// The system's words for it, without the call that failed.
  fileprivate var cause: String {
    errnoCode == ECONNREFUSED ? "connection refused" : String(cString: strerror(errnoCode))
  }
}
