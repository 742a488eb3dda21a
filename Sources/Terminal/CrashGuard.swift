#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Restores the terminal when a bug of ours ends the process. Everything that the signal handler
/// needs is prepared before, since a signal handler cannot allocate memory.
package enum CrashGuard {
  private static let crashes = [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT]

  /// Safe, since all three are written once, before the handlers that read them are installed, by the
  /// one `Screen` of the process under its lock.
  nonisolated(unsafe) private static var mode = termios()
  nonisolated(unsafe) private static var farewell = UnsafeMutableBufferPointer<UInt8>(
    start: nil, count: 0)
  nonisolated(unsafe) private static var isArmed = false

  /// From now on a crash writes `text` and sets the terminal back to its present mode. Only the
  /// first call has an effect.
  package static func arm(leaving text: String) {
    guard !isArmed else { return }
    isArmed = true
    tcgetattr(STDIN_FILENO, &mode)
    farewell = .allocate(capacity: text.utf8.count)
    _ = farewell.initialize(fromContentsOf: Array(text.utf8))
    for number in crashes {
      signal(number) { number in
        _ = write(STDOUT_FILENO, CrashGuard.farewell.baseAddress, CrashGuard.farewell.count)
        tcsetattr(STDIN_FILENO, TCSANOW, &CrashGuard.mode)
        signal(number, SIG_DFL)
        raise(number)
      }
    }
  }
}
