import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A descriptor to which we write without waiting for its reader, which may have stalled: a full
/// pipe, a terminal that was stopped by Ctrl-S, a log collector that hangs.
///
/// Other processes write to the same pipe or terminal, so we must not change its mode. Where it can
/// be opened a second time, the second descriptor is opened so that it does not block (open(2),
/// proc(5)). For a socket, each write asks not to block (send(2)). Otherwise we first check whether
/// there is room, and write only as much as then surely fits.
package struct Outlet: Sendable {
  private enum Way: Sendable {
    /// The descriptor leads to a file or the like, where a write does not wait for a reader.
    case direct
    case reopened(CInt)
    case socket
    case carefully
  }

  /// How much surely fits where there is any room (PIPE_BUF, pipe(7)).
  private static let smallPiece = 4096
  /// Half of what a pipe holds, so that we never wait for a reader that is fast enough.
  private static let piece = 32_768

  package let descriptor: CInt
  private let way: Way

  package init(_ descriptor: CInt) {
    self.descriptor = descriptor
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      way = .direct
      return
    }
    switch status.st_mode & S_IFMT {
    case S_IFSOCK: way = .socket
    case S_IFIFO,
      S_IFCHR where isatty(descriptor) == 1 || status.st_mode & S_IFMT == S_IFIFO:
      let flags = O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY
      let second = open("/proc/self/fd/\(descriptor)", flags)
      way = second >= 0 ? .reopened(second) : .carefully
    default: way = .direct
    }
  }

  /// Writes as much of a first piece as can be written at once.
  ///
  /// - Returns: how many bytes were written, or -1 with `errno` set, which is EAGAIN where there is
  ///   no room.
  package func write(_ bytes: ArraySlice<UInt8>) -> Int {
    bytes.prefix(Self.piece).withUnsafeBytes { bytes in
      switch way {
      case .direct: return systemWrite(descriptor, bytes.baseAddress, bytes.count)
      case .reopened(let second): return systemWrite(second, bytes.baseAddress, bytes.count)
      case .socket:
        return send(
          descriptor, bytes.baseAddress, bytes.count, CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL))
      case .carefully:
        guard hasRoom(within: .zero) else {
          errno = EAGAIN
          return -1
        }
        return systemWrite(descriptor, bytes.baseAddress, min(bytes.count, Self.smallPiece))
      }
    }
  }

  /// Waits until there may be room, or until there is an error, which the next write then reports.
  package func hasRoom(within limit: Duration) -> Bool {
    var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&state, 1, CInt(limit / .milliseconds(1))) > 0
  }
}

private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}
