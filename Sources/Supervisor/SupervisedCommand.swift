#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The command that runs as our child. It is started, sent signals, and stopped and continued
/// together with us.
struct SupervisedCommand {
  let process: ChildProgram.Process
  private let leadsGroup: Bool

  /// Starts a command.
  ///
  /// - Parameters:
  ///   - arguments: the program, which is searched for on the PATH, and its arguments, byte for
  ///     byte.
  /// - Throws: ``StartFailure``.
  init(_ arguments: [[CChar]], _ plan: CommandPlan) throws(StartFailure) {
    leadsGroup = plan.leadsGroup
    let program = ChildProgram(
      arguments: arguments, variables: plan.variables.map { ($0.name, $0.value) })
    guard let process = program.spawn(deathSignal: SIGTERM, leadsGroup: leadsGroup) else {
      throw StartFailure(errno)
    }
    self.process = process
  }

  /// Sends a signal to the command or, where it leads one, to its group.
  func send(_ number: CInt) { kill(leadsGroup ? -process.id : process.id, number) }

  /// Whether it has ended but has not been reaped, so that its number still belongs to it.
  var hasEnded: Bool {
    #if os(Linux)
      var details = siginfo_t()
      return waitid(P_PID, id_t(process.id), &details, WEXITED | WNOHANG | WNOWAIT) == 0
        && details.si_signo == SIGCHLD
    #else
      return false
    #endif
  }

  // MARK: Its group

  /// Whether processes are left in the group that it led.
  var hasGroup: Bool { leadsGroup && kill(-process.id, 0) == 0 }

  /// Asks the remaining processes of its group to end.
  func endGroup() {
    if leadsGroup { kill(-process.id, SIGTERM) }
  }

  /// Gives the terminal back to our group, if the command's has it.
  func returnTerminal() {
    if leadsGroup, tcgetpgrp(STDIN_FILENO) == process.id { Self.giveTerminal(to: getpgrp()) }
  }

  /// Called when the command has stopped. We stop as well, so that the shell that waits for us
  /// notices it and may continue both. Once we are continued, we continue the command. Process 1
  /// cannot be stopped.
  func stopToo() {
    guard getpid() != 1, !isToContinue else { return }
    let foreground = leadsGroup ? tcgetpgrp(STDIN_FILENO) : -1
    if foreground == process.id { Self.giveTerminal(to: getpgrp()) }
    // A stop that came from the terminal to the command's group is meant for the whole pipeline
    // that we belong to.
    kill(foreground >= 0 ? 0 : getpid(), SIGSTOP)
    if foreground >= 0, tcgetpgrp(STDIN_FILENO) == getpgrp() {
      Self.giveTerminal(to: process.id)
    }
    send(SIGCONT)
  }

  /// Whether a SIGCONT for us is already pending; a stop would discard it (signal(7)).
  private var isToContinue: Bool {
    var waiting = sigset_t()
    return sigpending(&waiting) == 0 && sigismember(&waiting, SIGCONT) == 1
  }

  private static func giveTerminal(to group: pid_t) {
    // From the background this would stop us if SIGTTOU were not blocked.
    tcsetpgrp(STDIN_FILENO, group)
  }
}

/// Why a command could not be started.
public enum StartFailure: Error, Hashable {
  case notFound
  case notExecutable
  /// Another error number, for example since there are too many processes.
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
