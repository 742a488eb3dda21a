#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Decides what a signal that was sent to us means for the command that we run. A value without
/// effects.
///
/// The command is to fare as it would without us: what is sent to us is meant for it. A terminal
/// sends to everybody by itself, though, and so do some platforms.
public struct SignalPolicy: Sendable {
  public struct Options: Sendable, Hashable {
    /// Whether signals are passed on at all.
    public var forwards = true
    /// Whether the platform sends its signals to every process by itself.
    public var platformSignalsAll = false
    /// Whether the command gets what the terminal sends, too.
    public var sharesTerminal = true

    public init() {}
  }

  public struct Response: Sendable, Hashable {
    /// Whether to pass it on.
    public var forwards: Bool
    /// The signal's name where from here on the command is draining.
    public var drainReason: String?

    public init(forwards: Bool, drainReason: String? = nil) {
      self.forwards = forwards
      self.drainReason = drainReason
    }
  }

  /// The signals that are waited for: all but those that cannot be, that tell of a fault of our
  /// own, and that stop, which keep their defaults so that job control works. SIGPIPE is left out
  /// since a write of our own may raise it.
  public static let awaited: [CInt] = {
    let others: [CInt] = [
      SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE,
      SIGTSTP, SIGTTIN, SIGTTOU,
    ]
    #if os(Linux)
      // 32 and 33 are the C library's own (nptl(7)).
      return (1...64).filter { !others.contains($0) && $0 != 32 && $0 != 33 }
    #else
      return (1...31).filter { !others.contains($0) }
    #endif
  }()

  private let options: Options
  private var isDraining = false
  private var hasTerminated = false

  public init(_ options: Options) {
    self.options = options
  }

  /// What to do about a signal. SIGTERM is passed on once however often it comes, others each time.
  public mutating func respond(to signal: ReceivedSignal) -> Response {
    if signal.sender == .terminal && options.sharesTerminal { return Response(forwards: false) }
    let isRepeated = signal.number == SIGTERM && hasTerminated
    hasTerminated = hasTerminated || signal.number == SIGTERM
    return Response(
      forwards: options.forwards && !options.platformSignalsAll && !isRepeated,
      drainReason: drainReason(signal))
  }

  /// At a terminal, a program may well deal with SIGINT and go on.
  private mutating func drainReason(_ signal: ReceivedSignal) -> String? {
    let isInterrupted = signal.number == SIGINT && signal.sender != .terminal
    guard !isDraining, signal.number == SIGTERM || isInterrupted else { return nil }
    isDraining = true
    return SignalName.of(signal.number)
  }
}
