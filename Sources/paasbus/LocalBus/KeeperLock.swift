#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The file whose lock makes sure that there is only one keeper. The system releases the lock when
/// the keeper ends, in whatever way.
enum KeeperLock {
  /// Takes the lock for as long as this process lives; false where another keeper holds it or the
  /// file cannot be made.
  static func acquire(_ path: String) -> Bool {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    var lock = wholeFile
    guard fcntl(descriptor, F_SETLK, &lock) == 0 else {
      close(descriptor)
      return false
    }
    return true
  }

  /// The process that holds the lock; nil where none does.
  static func holder(of path: String) -> pid_t? {
    let descriptor = open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var lock = wholeFile
    guard fcntl(descriptor, F_GETLK, &lock) == 0, lock.l_type != Int16(F_UNLCK) else { return nil }
    return lock.l_pid
  }

  private static var wholeFile: flock {
    var lock = flock()
    lock.l_type = Int16(F_WRLCK)
    lock.l_whence = Int16(SEEK_SET)
    return lock
  }
}
