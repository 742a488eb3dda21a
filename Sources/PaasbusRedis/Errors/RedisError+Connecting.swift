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
  /// Finds the cause of a failed connection.
  ///
  /// - Parameter records: what was received of a TLS handshake.
  init(connecting error: any Error, _ records: TLSRecords? = nil) {
    switch error {
    case let error as RedisError: self = error
    case let error as NIOConnectionError: self.init(Self.cause(error))
    case let error as IOError: self.init(error.cause)
    case ChannelError.connectTimeout: self.init(.connectTimeout)
    case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
      self.init(.tls(TLSFailure("\(error)", hasBegun: records?.hasBegun ?? true)))
    default: self.init(.transport("\(error)"))
    }
  }

  private static func cause(_ error: NIOConnectionError) -> Cause {
    switch error.connectionErrors.first?.error {
    case let failed as IOError: failed.cause
    case ChannelError.connectTimeout?: .connectTimeout
    case let failed?: .transport("\(failed)")
    case nil: .unresolved(host: error.host)
    }
  }
}

extension IOError {
  fileprivate var cause: RedisError.Cause {
    errnoCode == ECONNREFUSED ? .connectionRefused : .system(errnoCode)
  }
}
