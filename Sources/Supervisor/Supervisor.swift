import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Runs a command as an init does, in a process that does nothing else. This process has only one
/// thread, never waits for another process, and never writes where that could block. So nothing can
/// prevent it from passing on signals, from reaping children, and from ending when the command
/// does.
///
/// Everything that may fail, hang or be killed is done by the announcer. That is a process that is
/// forked before there is any other thread, gets news through a pipe, and is started again if it
/// ends too early.
public struct Supervisor {
  /// What the supervisor reports to the user.
  public enum Remark: Sendable, Hashable {
    /// No announcer can be started (an error number); it is tried again.
    case unannounced(CInt)
    /// The announcer has ended unexpectedly; another one is started.
    case announcerEnded(CommandStatus)
    /// The stop could not be delivered in time, if anything was announced.
    case undelivered
  }

  /// Why no command runs.
  public enum Refusal: Error {
    /// The announcer, which read the command line, has printed the reason and exited with this
    /// status.
    case usage(exit: Int32)
    case notStarted(StartFailure)
  }

  /// The time between two checks of whether the command's group has ended.
  private static let groupInterval = Duration.milliseconds(50)

  private let signals: SignalQueue
  private let remark: (Remark) -> Void
  private var announcer: AnnouncerProcess
  private let plan: CommandPlan
  private let command: SupervisedCommand
  private var policy: SignalPolicy

  /// Runs a command to its end.
  ///
  /// To be called on the main thread before there is another thread.
  ///
  /// - Parameters:
  ///   - arguments: the program, which is searched for on the PATH, and its arguments, byte for
  ///     byte.
  ///   - readPlan: reads the command line in this process, where no other process can be started.
  ///   - remark: prints something, without blocking.
  ///   - announce: what the announcer does, in a process of its own.
  /// - Returns: the exit status.
  /// - Throws: ``Refusal``; what `readPlan` throws.
  public static func run(
    _ arguments: [[CChar]], readPlan: () throws -> CommandPlan,
    remark: @escaping (Remark) -> Void, announce: @escaping (AnnouncerLink) -> Never
  ) throws -> Int32 {
    let signals = SignalQueue.block(SignalPolicy.awaited)
    var announcer = AnnouncerProcess(announce)
    let failure = announcer.start()
    let plan = failure == 0 ? try firstPlan(&announcer) : try readPlan()
    if plan.adoptsOrphans { _ = csupervisor_adopt_orphans() }
    let command = try start(arguments, plan, &announcer)
    announcer.commandStarted(command.process)
    // We leave the folder in which we were started, so that it can be removed or unmounted.
    _ = chdir("/")
    var supervisor = Supervisor(signals, remark, announcer, plan, command)
    if failure != 0 { supervisor.sayUnannounced(failure) }
    return supervisor.run()
  }

  /// The plan of the first announcer. If the announcer was ended by a signal, the command line is
  /// not at fault, so the command runs nevertheless.
  private static func firstPlan(_ announcer: inout AnnouncerProcess) throws -> CommandPlan {
    if let plan = announcer.plan() { return plan }
    var status: CInt = 0
    if let id = announcer.id {
      while waitpid(id, &status, 0) == -1, errno == EINTR { continue }
    }
    let ended = CommandStatus(waitStatus: status)
    if case .exited(let code) = ended { throw Refusal.usage(exit: code) }
    announcer.ended(ended)
    return CommandPlan()
  }

  private static func start(
    _ arguments: [[CChar]], _ plan: CommandPlan, _ announcer: inout AnnouncerProcess
  ) throws -> SupervisedCommand {
    do {
      do {
        return try SupervisedCommand(arguments, plan)
      } catch .failed(EAGAIN) {
        // Where there is room for only one process, that is the command.
        announcer.makeRoom()
        return try SupervisedCommand(arguments, plan)
      }
    } catch {
      announcer.commandFailed()
      throw Refusal.notStarted(error)
    }
  }

  private init(
    _ signals: SignalQueue, _ remark: @escaping (Remark) -> Void, _ announcer: AnnouncerProcess,
    _ plan: CommandPlan, _ command: SupervisedCommand
  ) {
    (self.signals, self.remark) = (signals, remark)
    (self.announcer, self.plan, self.command) = (announcer, plan, command)
    var options = SignalPolicy.Options()
    options.forwards = plan.forwards
    options.platformSignalsAll = plan.platformSignalsAll
    options.rewrites = plan.rewrites
    // A terminal sends to one group only, so a signal to our group does not reach the command's own
    // group.
    options.sharesTerminal = !plan.leadsGroup
    options.leadsSession = getsid(0) == getpid()
    options.isOrphaned = !plan.leadsGroup && Self.isOrphaned
    policy = SignalPolicy(options)
  }

  /// Whether no process could continue our process group, since our parent is in the same group or
  /// in another session.
  private static var isOrphaned: Bool {
    let parent = getppid()
    return parent == 0 || getsid(parent) != getsid(0) || getpgid(parent) == getpgrp()
  }

  private func say(_ remark: Remark) {
    if !plan.isQuiet { self.remark(remark) }
  }

  // MARK: While the command runs

  private mutating func run() -> Int32 {
    while true {
      guard let signal = signals.next(until: announcer.nextStart) else {
        startAnnouncer()
        continue
      }
      if signal.number == SIGCHLD {
        if let status = reap() { return end(status) }
      } else {
        pass(signal)
      }
    }
  }

  private mutating func pass(_ signal: ReceivedSignal) {
    let response = policy.respond(to: signal)
    if let number = response.forwards { command.send(number) }
    if signal.number == SIGCONT { announcer.signal(SIGCONT) }
    if let reason = response.drainReason { announcer.draining(reason) }
  }

  private mutating func startAnnouncer() {
    guard let next = announcer.nextStart, next <= .now else { return }
    let failure = announcer.start()
    if failure != 0 { sayUnannounced(failure) }
  }

  private mutating func sayUnannounced(_ failure: CInt) {
    if announcer.complainsFirst() { say(.unannounced(failure)) }
  }

  /// Reaps every child that has ended, including orphans that became our children. Returns how the
  /// command ended, if it did.
  private mutating func reap() -> CommandStatus? {
    if command.hasEnded { command.endGroup() }
    var ended: CommandStatus?
    while true {
      var status: CInt = 0
      let child = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)
      guard child > 0 else { return ended }
      let isStopped = status & 0xFF == 0x7F
      let isContinued = status == 0xFFFF
      switch child {
      case command.process.id:
        if isStopped {
          stopToo()
        } else if isContinued {
          announcer.signal(SIGCONT)
        } else {
          ended = CommandStatus(waitStatus: status)
        }
      case announcer.id where !isStopped && !isContinued:
        announcerEnded(CommandStatus(waitStatus: status))
      default: continue
      }
    }
  }

  /// Stops the announcer too, since a command that is stopped must not send heartbeats.
  private mutating func stopToo() {
    announcer.signal(SIGSTOP)
    command.stopToo()
  }

  private mutating func announcerEnded(_ status: CommandStatus) {
    announcer.ended(status)
    let isSaid = status == .exited(AnnouncerLink.Exit.unable)
    if !announcer.isDone, !isSaid { say(.announcerEnded(status)) }
  }

  // MARK: Once it has ended

  /// Waits until the announcer has published the end, or the time for that is over.
  private mutating func end(_ status: CommandStatus) -> Int32 {
    let deadline = ContinuousClock.now + plan.stopTimeout
    command.returnTerminal()
    announcer.commandEnded(status)
    let isInit = getpid() == 1
    while announcer.isWanted || (isInit && command.hasGroup) {
      guard ContinuousClock.now < deadline else {
        if announcer.isWanted { say(.undelivered) }
        break
      }
      var next = min(deadline, announcer.nextStart ?? deadline)
      if isInit, command.hasGroup { next = min(next, .now + Self.groupInterval) }
      if signals.next(until: next)?.number == SIGCHLD { _ = reap() }
      startAnnouncer()
    }
    announcer.signal(SIGKILL)
    let code = status.shellStatus
    return plan.acceptedExits.contains(code) ? 0 : code
  }
}
