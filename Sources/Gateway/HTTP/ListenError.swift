import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Why an address cannot be listened at.
package enum ListenError: Error, Hashable, Sendable {
  /// With the system's error (`errno`).
  case system(CInt)
  case notAnAddress
  /// There is a file of that name, which is no socket.
  case notASocket
  /// Another process listens there.
  case occupied

  init?(_ error: any Error) {
    switch error {
    case let error as IOError: self = .system(error.errnoCode)
    case is SocketAddressError, is SocketAddressError.UnknownHost: self = .notAnAddress
    case let error as ListenError: self = error
    default: return nil
    }
  }
}

/// The file of a Unix socket.
enum UnixSocketFile {
  /// Takes away a socket that a process left behind which has ended.
  ///
  /// - Throws: ``ListenError`` where something else has the path.
  static func clear(_ path: String) throws(ListenError) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket }
    guard !isAnswered(path) else { throw .occupied }
    unlink(path)
  }

  static func remove(_ path: String) { unlink(path) }

  private static func isAnswered(_ path: String) -> Bool {
    guard let address = try? SocketAddress(unixDomainSocketPath: path) else { return false }
    #if canImport(Glibc)
      let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    #else
      let descriptor = socket(AF_UNIX, SOCK_STREAM, 0)
    #endif
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return address.withSockAddr { connect(descriptor, $0, socklen_t($1)) == 0 }
  }
}
