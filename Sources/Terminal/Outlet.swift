import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A descriptor to write to without waiting for whoever reads there, who may have stalled: a full pipe,
/// a terminal that was stopped by Ctrl-S, a log collector that hangs.
///
/// Others write to the same pipe or terminal, so its own mode is none of ours to change. Where it can be
/// opened a second time, that one does not wait (open(2), proc(5)); sockets are asked not to with each
/// write (send(2)); else we look first whether there is room, and write as little as then fits.
package struct Outlet: Sendable {
  private enum Way: Sendable {
    /// What is written there goes to a file, and waits for nobody.
    case direct
    case reopened(CInt)
    case socket
    case carefully
  }

  /// What surely fits where there is room at all (PIPE_BUF, pipe(7)).
  private static let smallPiece = 4096
  /// Half of what a pipe holds: a reader that keeps pace is never waited for.
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

  /// Writes what can be written at once of a first piece.
  ///
  /// - Returns: how many bytes that was, or -1 with `errno` set; EAGAIN where there is no room.
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

  /// Waits until there may be room, or something is wrong, which a write then tells.
  package func hasRoom(within limit: Duration) -> Bool {
    var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&state, 1, CInt(limit / .milliseconds(1))) > 0
  }
}

private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}
