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

/// The signals that ask a program to end, by name. Signals that affect what is drawn on the
/// terminal are handled here as well.
struct TerminationSignals {
  private static let ending = [SIGTERM, SIGINT, SIGHUP]
  private static let disturbing = [SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH]

  private let queue: SignalQueue
  /// The descriptor whose reader is awaited too; nil where it does not matter whether there is one.
  private var output: CInt?

  /// From here on the signals wait until ``next()`` takes them. A signal that was ignored when we
  /// were started stays ignored: SIGHUP because of `nohup`, SIGTSTP because of a shell without job
  /// control. To be called on the main thread before there is another thread.
  ///
  /// - Parameters:
  ///   - isDrawing: whether there may be something drawn on the terminal.
  ///   - output: a descriptor; once it has no reader, ``next()`` gives SIGPIPE, which the system sends for that.
  static func block(isDrawing: Bool, orUnread output: CInt? = nil) -> TerminationSignals {
    var inherited = csupervisor_inherited_signals()
    let mayBeIgnored = [SIGHUP, SIGTSTP, SIGQUIT].filter {
      sigismember(&inherited.ignored, $0) == 1
    }
    return TerminationSignals(
      queue: .block(
        (ending + (isDrawing ? disturbing : [])).filter { !mayBeIgnored.contains($0) }),
      output: output)
  }

  /// Waits for the next signal that asks for the end, and returns its name.
  mutating func next() -> String {
    while true {
      let number = nextNumber()
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

  private mutating func nextNumber() -> CInt {
    guard let output else { return queue.next().number }
    if let signal = queue.next(orUnread: output) { return signal.number }
    self.output = nil
    return SIGPIPE
  }

  /// Lets a signal that was blocked have its default effect, which stops us until we are continued,
  /// or ends us.
  static func letAct(_ number: CInt) {
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, number)
    kill(getpid(), number)
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }
}
