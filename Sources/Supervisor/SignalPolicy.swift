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
/// The command should behave as it would without us, so a signal that is sent to us is meant for
/// the command. But a terminal sends its signals to every process by itself, and so do some
/// platforms.
public struct SignalPolicy: Sendable {
  public struct Options: Sendable, Hashable {
    /// Whether signals are passed on at all.
    public var forwards = true
    /// Whether the platform sends its signals to every process by itself.
    public var platformSignalsAll = false
    /// Whether the command also gets what the terminal sends.
    public var sharesTerminal = true
    /// Whether we lead the session; the kernel then tells only us when the terminal closes.
    public var leadsSession = false
    /// Whether the kernel ignores stop signals to the command's process group, since no process
    /// could continue the group (an orphaned process group, POSIX 2.4.3). Only SIGSTOP stops it
    /// then.
    public var isOrphaned = false
    /// The signal to send instead of one that came; nil to send none.
    public var rewrites: [CInt: CInt?] = [:]

    public init() {}
  }

  public struct Response: Sendable, Hashable {
    /// What to send to the command; nil for nothing.
    public var forwards: CInt?
    /// The signal's name, if the command is draining from here on.
    public var drainReason: String?

    public init(forwards: CInt?, drainReason: String? = nil) {
      self.forwards = forwards
      self.drainReason = drainReason
    }
  }

  /// The signals that a terminal sends to a whole process group.
  private static let terminals: Set<CInt> = [
    SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGHUP, SIGCONT,
  ]
  private static let stops: Set<CInt> = [SIGTSTP, SIGTTIN, SIGTTOU]

  /// The signals that are waited for: all except those for which that is impossible.
  public static let awaited: [CInt] = {
    let others: [CInt] = [SIGKILL, SIGSTOP]
    #if os(Linux)
      // The C library uses 32 and 33 itself (nptl(7)).
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
    if options.sharesTerminal, isFromTerminal(signal) { return Response(forwards: nil) }
    let isRepeated = signal.number == SIGTERM && hasTerminated
    hasTerminated = hasTerminated || signal.number == SIGTERM
    let sent = sent(for: signal.number)
    let isPassedOn = options.forwards && !options.platformSignalsAll && !isRepeated
    // A signal that is dropped does not ask the command to end.
    let isSwallowed = sent == nil && options.forwards
    return Response(
      forwards: isPassedOn ? sent : nil, drainReason: isSwallowed ? nil : drainReason(signal))
  }

  /// Whether the whole process group got the signal, and so the command as well.
  private func isFromTerminal(_ signal: ReceivedSignal) -> Bool {
    guard signal.sender == .kernel, Self.terminals.contains(signal.number) else { return false }
    return !(options.leadsSession && (signal.number == SIGHUP || signal.number == SIGCONT))
  }

  private func sent(for number: CInt) -> CInt? {
    let number = options.rewrites[number] ?? number
    guard let number, options.isOrphaned, Self.stops.contains(number) else { return number }
    return SIGSTOP
  }

  /// A SIGINT from the terminal does not count, since a program may handle it and go on.
  private mutating func drainReason(_ signal: ReceivedSignal) -> String? {
    let isInterrupted = signal.number == SIGINT && signal.sender != .kernel
    guard !isDraining, signal.number == SIGTERM || isInterrupted else { return nil }
    isDraining = true
    return SignalName.of(signal.number)
  }
}
