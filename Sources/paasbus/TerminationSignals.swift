#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The signals that ask a program to end. They are blocked and waited for rather than handled, so
/// that none is lost between two steps of setting a handler up.
struct TerminationSignals {
  private static let names: [CInt: String] = [
    SIGTERM: "SIGTERM", SIGINT: "SIGINT", SIGHUP: "SIGHUP",
  ]

  private var set = sigset_t()

  /// From here on these signals end nothing by themselves, but wait to be asked for.
  ///
  /// To be called on the main thread before there is another one, since threads inherit what is
  /// blocked. A SIGHUP that was ignored when we were started (`nohup`) stays ignored.
  static func block() -> TerminationSignals {
    var signals = TerminationSignals()
    sigemptyset(&signals.set)
    for number in names.keys where !(number == SIGHUP && isIgnored(number)) {
      sigaddset(&signals.set, number)
    }
    pthread_sigmask(SIG_BLOCK, &signals.set, nil)
    // A shell lets its background jobs ignore SIGINT; what is ignored need not wait.
    for number in names.keys where sigismember(&signals.set, number) == 1 {
      signal(number, SIG_DFL)
    }
    return signals
  }

  /// Waits for the next one and returns its name.
  func next() -> String {
    var set = set
    var number: CInt = 0
    while true {
      if sigwait(&set, &number) == 0, let name = Self.names[number] { return name }
    }
  }

  private static func isIgnored(_ number: CInt) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    #if canImport(Darwin)
      let handler = action.__sigaction_u.__sa_handler
    #else
      let handler = action.__sigaction_handler.sa_handler
    #endif
    return unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
