#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The mode in which a terminal treats what is typed (termios(3)), as it was before we changed it.
package struct TerminalMode {
  private let descriptor: CInt
  private let before: termios

  /// Whether our process group is in the foreground of the terminal. A process that changes the
  /// terminal from the background is stopped.
  package static func isOurs(_ descriptor: CInt) -> Bool { tcgetpgrp(descriptor) == getpgrp() }

  /// Switches to a mode in which what is typed is not shown.
  package static func withoutEcho(_ descriptor: CInt) -> TerminalMode? {
    change(descriptor) { $0.c_lflag &= ~tcflag_t(ECHO) }
  }

  /// Switches to a mode in which what is typed comes key by key, including Ctrl-C and Ctrl-Z, and
  /// is not shown.
  package static func raw(_ descriptor: CInt) -> TerminalMode? {
    change(descriptor) {
      cfmakeraw(&$0)
      // Lines that other processes write should still begin at the left.
      $0.c_oflag |= tcflag_t(OPOST | ONLCR)
    }
  }

  private static func change(
    _ descriptor: CInt, _ change: (inout termios) -> Void
  ) -> TerminalMode? {
    var mode = termios()
    guard isOurs(descriptor), tcgetattr(descriptor, &mode) == 0 else { return nil }
    let before = mode
    change(&mode)
    // TCSANOW, since the other ways wait until all output is written, which never happens on a
    // terminal that has stalled.
    guard tcsetattr(descriptor, TCSANOW, &mode) == 0 else { return nil }
    return TerminalMode(descriptor: descriptor, before: before)
  }

  package func restore() {
    guard Self.isOurs(descriptor) else { return }
    var mode = before
    tcsetattr(descriptor, TCSANOW, &mode)
  }
}
