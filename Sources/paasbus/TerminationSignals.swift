import CSupervisor
import Supervisor
import Terminal

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The signals that ask a program to end, by name; and those by which a terminal disturbs what is
/// drawn on it, which are dealt with on the way.
struct TerminationSignals {
  private static let ending = [SIGTERM, SIGINT, SIGHUP]
  private static let disturbing = [SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH]

  private let queue: SignalQueue

  /// From here on they wait to be asked for. What was ignored when we were started stays ignored: a
  /// SIGHUP by `nohup`, a SIGTSTP by a shell without job control. To be called on the main thread
  /// before there is another one.
  ///
  /// - Parameter isDrawing: whether there may be something drawn on the terminal.
  static func block(isDrawing: Bool) -> TerminationSignals {
    var inherited = csupervisor_inherited_signals()
    let mayBeIgnored = [SIGHUP, SIGTSTP, SIGQUIT].filter {
      sigismember(&inherited.ignored, $0) == 1
    }
    return TerminationSignals(
      queue: .block(
        (ending + (isDrawing ? disturbing : [])).filter { !mayBeIgnored.contains($0) }))
  }

  /// Waits for the next one that asks for the end, and returns its name.
  func next() -> String {
    while true {
      let number = queue.next().number
      switch number {
      case SIGWINCH: CurrentDrawing.get()?.resize()
      case SIGCONT: CurrentDrawing.get()?.resume()
      case SIGTSTP, SIGQUIT:
        CurrentDrawing.get()?.suspend()
        Self.letAct(number)
        CurrentDrawing.get()?.resume()
      default: return SignalName.of(number)
      }
    }
  }

  /// Lets a signal that was held back do what it does by itself: stop us until we are continued, or
  /// end us.
  static func letAct(_ number: CInt) {
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, number)
    kill(getpid(), number)
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }
}
