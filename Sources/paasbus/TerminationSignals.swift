import CSupervisor
import Supervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The signals that ask a program to end, by name.
struct TerminationSignals {
  private let queue: SignalQueue

  /// From here on they wait to be asked for. A SIGHUP that was ignored when we were started
  /// (`nohup`) stays ignored. To be called on the main thread before there is another one.
  static func block() -> TerminationSignals {
    var inherited = csupervisor_inherited_signals()
    let ignoresHangup = sigismember(&inherited.ignored, SIGHUP) == 1
    return TerminationSignals(
      queue: .block(ignoresHangup ? [SIGTERM, SIGINT] : [SIGTERM, SIGINT, SIGHUP]))
  }

  /// Waits for the next one and returns its name.
  func next() -> String { SignalName.of(queue.next().number) }
}
