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
    /// Whether we lead the session: then a terminal that closes tells only us.
    public var leadsSession = false
    /// Whether the kernel ignores stop signals of the command's process group, as nobody could
    /// continue it (an orphaned process group, POSIX 2.4.3); only SIGSTOP stops it then.
    public var isOrphaned = false
    /// What is sent instead of a signal that came; nil for nothing.
    public var rewrites: [CInt: CInt?] = [:]

    public init() {}
  }

  public struct Response: Sendable, Hashable {
    /// What to send to the command; nil for nothing.
    public var forwards: CInt?
    /// The signal's name where from here on the command is draining.
    public var drainReason: String?

    public init(forwards: CInt?, drainReason: String? = nil) {
      self.forwards = forwards
      self.drainReason = drainReason
    }
  }

  /// Those that a terminal sends, to all of a process group.
  private static let terminals: Set<CInt> = [
    SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, SIGHUP, SIGCONT,
  ]
  private static let stops: Set<CInt> = [SIGTSTP, SIGTTIN, SIGTTOU]

  /// The signals that are waited for: all but those that cannot be.
  public static let awaited: [CInt] = {
    let others: [CInt] = [SIGKILL, SIGSTOP]
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
    if options.sharesTerminal, isFromTerminal(signal) { return Response(forwards: nil) }
    let isRepeated = signal.number == SIGTERM && hasTerminated
    hasTerminated = hasTerminated || signal.number == SIGTERM
    let sent = sent(for: signal.number)
    let isPassedOn = options.forwards && !options.platformSignalsAll && !isRepeated
    // One that is swallowed asks the command for nothing.
    let isSwallowed = sent == nil && options.forwards
    return Response(
      forwards: isPassedOn ? sent : nil, drainReason: isSwallowed ? nil : drainReason(signal))
  }

  /// Whether all of the process group got it, and so the command as well.
  private func isFromTerminal(_ signal: ReceivedSignal) -> Bool {
    guard signal.sender == .kernel, Self.terminals.contains(signal.number) else { return false }
    return !(options.leadsSession && (signal.number == SIGHUP || signal.number == SIGCONT))
  }

  private func sent(for number: CInt) -> CInt? {
    let number = options.rewrites[number] ?? number
    guard let number, options.isOrphaned, Self.stops.contains(number) else { return number }
    return SIGSTOP
  }

  /// At a terminal, a program may well deal with SIGINT and go on.
  private mutating func drainReason(_ signal: ReceivedSignal) -> String? {
    let isInterrupted = signal.number == SIGINT && signal.sender != .kernel
    guard !isDraining, signal.number == SIGTERM || isInterrupted else { return nil }
    isDraining = true
    return SignalName.of(signal.number)
  }
}
