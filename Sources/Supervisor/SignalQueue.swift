import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A signal as it came.
public struct ReceivedSignal: Sendable, Hashable {
  public enum Sender: Sendable, Hashable {
    /// The kernel (`si_code` is `SI_KERNEL`, sigaction(2)), for example for a terminal or a timer.
    case kernel
    case process
  }

  public var number: CInt
  public var sender: Sender

  public init(number: CInt, sender: Sender) {
    self.number = number
    self.sender = sender
  }
}

/// Signals that are blocked and waited for instead of handled. So none is lost while a handler is
/// set up, and they are processed one after the other.
public struct SignalQueue: Sendable {
  private var set = sigset_t()

  /// From here on these signals have no effect by themselves, and wait until ``next()`` takes them.
  ///
  /// To be called on the main thread before there is another thread, since threads inherit what is
  /// blocked.
  public static func block(_ numbers: [CInt]) -> SignalQueue {
    var queue = SignalQueue()
    sigemptyset(&queue.set)
    for number in numbers { sigaddset(&queue.set, number) }
    pthread_sigmask(SIG_BLOCK, &queue.set, nil)
    // A shell makes its background jobs ignore SIGINT, and a signal that is ignored might not be
    // queued.
    for number in numbers { signal(number, SIG_DFL) }
    return queue
  }

  /// Waits for the next signal.
  public func next() -> ReceivedSignal {
    while true {
      if let signal = next(until: nil) { return signal }
    }
  }

  /// Waits for the next signal; nil when none has come until the deadline.
  ///
  /// - Parameter deadline: nil for none.
  public func next(until deadline: ContinuousClock.Instant?) -> ReceivedSignal? {
    var set = set
    while true {
      let left = deadline.map { max(.zero, $0 - .now) }
      #if os(Linux)
        var details = siginfo_t()
        let number: CInt
        if let left {
          let (seconds, attoseconds) = left.components
          var time = timespec(
            tv_sec: Int(min(seconds, 1_000_000)), tv_nsec: Int(attoseconds / 1_000_000_000))
          number = sigtimedwait(&set, &details, &time)
        } else {
          number = sigwaitinfo(&set, &details)
        }
        if number < 0, errno == EAGAIN { return nil }
        guard number > 0 else { continue }
        // Our own write raises SIGPIPE when the reader is gone; no other process sent that signal.
        if number == SIGPIPE, details._sifields._kill.si_pid == getpid() { continue }
        let isKernel = details.si_code == Self.sentByKernel
      #else
        // On this system the deadline is only noticed when the next signal comes.
        _ = left
        var number: CInt = 0
        guard sigwait(&set, &number) == 0 else { continue }
        let isKernel = false
      #endif
      return ReceivedSignal(number: number, sender: isKernel ? .kernel : .process)
    }
  }

  /// Waits for the next signal; nil once a descriptor has no reader any more.
  ///
  /// A write would notice this only when there is something to write.
  public func next(orUnread descriptor: CInt) -> ReceivedSignal? {
    #if os(Linux)
      var set = set
      let signals = csupervisor_signal_descriptor(&set)
      defer { if signals >= 0 { close(signals) } }
      // No events are asked for: the end of the reader and errors come unasked (poll(2)).
      var waiting = [
        pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
        pollfd(fd: descriptor, events: 0, revents: 0),
      ]
      while signals >= 0 {
        guard poll(&waiting, 2, -1) > 0 else { continue }
        if let signal = next(until: .now) { return signal }
        if waiting[1].revents & Int16(POLLERR | POLLHUP) != 0 { return nil }
      }
    #endif
    return next()
  }

  /// `SI_KERNEL`, which is an enumerator in C.
  private static let sentByKernel: CInt = 0x80
}

/// The names of signals.
public enum SignalName {
  private static let names: [CInt: String] = [
    SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL", SIGTRAP: "SIGTRAP",
    SIGABRT: "SIGABRT", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGKILL: "SIGKILL",
    SIGUSR1: "SIGUSR1", SIGSEGV: "SIGSEGV", SIGUSR2: "SIGUSR2", SIGPIPE: "SIGPIPE",
    SIGALRM: "SIGALRM", SIGTERM: "SIGTERM", SIGCHLD: "SIGCHLD", SIGCONT: "SIGCONT",
    SIGSTOP: "SIGSTOP", SIGTSTP: "SIGTSTP", SIGTTIN: "SIGTTIN", SIGTTOU: "SIGTTOU",
    SIGURG: "SIGURG", SIGXCPU: "SIGXCPU", SIGXFSZ: "SIGXFSZ", SIGVTALRM: "SIGVTALRM",
    SIGPROF: "SIGPROF", SIGWINCH: "SIGWINCH", SIGIO: "SIGIO", SIGSYS: "SIGSYS",
  ]

  /// nil for one that has no name here.
  public static func number(of name: String) -> CInt? {
    names.first { $0.value == name }?.key
  }

  /// Reads a name, with or without SIG and in upper or lower case, or a number; nil for what is not
  /// a signal.
  public static func parse(_ text: String) -> CInt? {
    if let number = CInt(text) { return (1...64).contains(number) ? number : nil }
    let name = text.uppercased()
    return number(of: name.hasPrefix("SIG") ? name : "SIG\(name)")
  }

  /// The name, such as `SIGTERM`; for real-time signals and others without a name, `SIG` and the
  /// number.
  public static func of(_ number: CInt) -> String { names[number] ?? "SIG\(number)" }
}
