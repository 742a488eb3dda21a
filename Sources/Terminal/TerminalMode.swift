#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How a terminal treats what is typed (termios(3)), as it was before we changed it.
package struct TerminalMode {
  private let descriptor: CInt
  private let before: termios

  /// Whether the terminal is ours just now: to change it from the background would stop us.
  package static func isOurs(_ descriptor: CInt) -> Bool { tcgetpgrp(descriptor) == getpgrp() }

  /// What is typed is not shown.
  package static func withoutEcho(_ descriptor: CInt) -> TerminalMode? {
    change(descriptor) { $0.c_lflag &= ~tcflag_t(ECHO) }
  }

  /// What is typed comes key by key, without being shown, Ctrl-C and Ctrl-Z among it.
  package static func raw(_ descriptor: CInt) -> TerminalMode? {
    change(descriptor) {
      cfmakeraw(&$0)
      // Lines that others write shall still begin at the left.
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
    // Not once all is written, which a terminal that has stalled never has.
    guard tcsetattr(descriptor, TCSANOW, &mode) == 0 else { return nil }
    return TerminalMode(descriptor: descriptor, before: before)
  }

  package func restore() {
    guard Self.isOurs(descriptor) else { return }
    var mode = before
    tcsetattr(descriptor, TCSANOW, &mode)
  }
}
