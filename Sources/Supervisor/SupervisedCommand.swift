import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A command that runs as our child, as an init runs it: signals are passed on, orphans are reaped,
/// and its end is told.
///
/// All of it happens on the main thread: the system ends the child when the thread that started it
/// ends, and that one never does.
public struct SupervisedCommand {
  public struct Options: Sendable {
    /// Whether signals go to a process group of the command's own.
    public var leadsGroup = false
    public var forwards = true
    public var platformSignalsAll = false

    public init() {}
  }

  public enum StartFailure: Error, Hashable {
    case notFound
    case notExecutable
    /// Another error number, as when there are too many processes.
    case failed(CInt)

    init(_ number: CInt) {
      self =
        switch number {
        case ENOENT, ENOTDIR: .notFound
        case EACCES, ENOEXEC, EISDIR, EPERM: .notExecutable
        default: .failed(number)
        }
    }
  }

  private let process: pid_t
  private let signals: SignalQueue
  private let leadsGroup: Bool
  private var policy: SignalPolicy

  /// Starts a command.
  ///
  /// - Parameters:
  ///   - arguments: the program, which is searched for on the PATH, and its arguments, to the byte.
  ///   - adding: variables that it gets beside ours.
  /// - Throws: ``StartFailure``.
  public static func start(
    _ arguments: [[CChar]], adding variables: [(name: String, value: String)],
    options: Options = Options()
  ) throws(StartFailure) -> SupervisedCommand {
    let signals = SignalQueue.block(SignalPolicy.awaited)
    let child = ChildProgram(arguments: arguments, variables: variables)
      .spawn(deathSignal: SIGTERM, leadsGroup: options.leadsGroup)
    guard child > 0 else { throw StartFailure(errno) }
    var policy = SignalPolicy.Options()
    policy.forwards = options.forwards
    policy.platformSignalsAll = options.platformSignalsAll
    // A terminal sends to one group only: what reaches ours does not reach another.
    policy.sharesTerminal = !options.leadsGroup
    return SupervisedCommand(
      process: child, signals: signals, leadsGroup: options.leadsGroup,
      policy: SignalPolicy(policy))
  }

  /// Passes signals on and reaps until the command has ended.
  ///
  /// - Parameter onDrain: is told once, with the signal's name, when it was asked to end.
  public mutating func supervise(onDrain: (String) -> Void) -> CommandStatus {
    while true {
      let signal = signals.next()
      if signal.number == SIGCHLD {
        if let status = reap() { return status }
        continue
      }
      let response = policy.respond(to: signal)
      if response.forwards { kill(leadsGroup ? -process : process, signal.number) }
      if let reason = response.drainReason { onDrain(reason) }
    }
  }

  /// Goes on reaping; for whoever still has something to do after the command's end.
  public func reapForEver() -> Never {
    while true {
      if signals.next().number == SIGCHLD { _ = reap() }
    }
  }

  /// Takes every child that has ended, orphans that became ours among them; returns how the command
  /// ended if it was one of them.
  private func reap() -> CommandStatus? {
    var ended: CommandStatus?
    while true {
      var status: CInt = 0
      let child = waitpid(-1, &status, WNOHANG | (leadsGroup ? WUNTRACED : 0))
      guard child > 0 else { return ended }
      guard child == process else { continue }
      if status & 0xFF == 0x7F {
        stopToo(by: (status >> 8) & 0xFF)
      } else {
        ended = CommandStatus(waitStatus: status)
        if leadsGroup, tcgetpgrp(STDIN_FILENO) == process { giveTerminal(to: getpgrp()) }
      }
    }
  }

  /// The terminal stopped the command in its own group, by Ctrl-Z or because it is in the
  /// background: the shell that waits for our group has to see that stopped as well, and may continue
  /// both.
  private func stopToo(by signal: CInt) {
    let foreground = tcgetpgrp(STDIN_FILENO)
    guard foreground >= 0, [SIGTSTP, SIGTTIN, SIGTTOU].contains(signal) else { return }
    if foreground == process { giveTerminal(to: getpgrp()) }
    kill(0, SIGSTOP)
    if tcgetpgrp(STDIN_FILENO) == getpgrp() { giveTerminal(to: process) }
    kill(-process, SIGCONT)
  }

  private func giveTerminal(to group: pid_t) {
    // From the background this would stop us.
    var set = sigset_t()
    var before = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGTTOU)
    pthread_sigmask(SIG_BLOCK, &set, &before)
    tcsetpgrp(STDIN_FILENO, group)
    pthread_sigmask(SIG_SETMASK, &before, nil)
  }
}
