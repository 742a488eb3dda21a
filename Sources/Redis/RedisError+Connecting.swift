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
  ///
  /// - Parameter records: what was heard of a TLS handshake.
  init(connecting error: any Error, _ records: TLSRecords? = nil) {
    let hasBegun = records?.hasBegun ?? true
    switch error {
    case let error as RedisError: self = error
    case let error as NIOConnectionError: self = Self.connection(error)
    case let error as IOError: self = Self.unreachable(error.cause)
    case ChannelError.connectTimeout:
      self = Self.unreachable("no answer within the time-out")
    case let error as NIOSSLError: self = .tls("\(error)", hasBegun: hasBegun)
    case let error as NIOSSLExtraError: self = .tls("\(error)", hasBegun: hasBegun)
    case let error as BoringSSLError: self = .tls("\(error)", hasBegun: hasBegun)
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
}

extension IOError {
  /// The system's words for it, without the call that failed.
  fileprivate var cause: String {
    errnoCode == ECONNREFUSED ? "connection refused" : String(cString: strerror(errnoCode))
  }
}
