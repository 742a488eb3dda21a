import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Runs a command as an init does, in a process that does nothing else: it has one thread all its
/// life, and neither waits for anybody nor writes where it may have to, so that nothing can keep it
/// from passing signals on, from reaping, and from ending when the command does.
///
/// Whatever may fail, hang or be killed is done by the announcer, a process that is forked before there
/// is any thread, hears through a pipe what happens, and is started anew where it ends too early.
public struct Supervisor {
  /// What it has to say to a person.
  public enum Remark: Sendable, Hashable {
    /// No announcer can be started (an error number); it is tried again.
    case unannounced(CInt)
    /// The announcer has ended, as it should not; another one is started.
    case announcerEnded(CommandStatus)
    /// The stop could not be delivered in time, if anything was announced.
    case undelivered
  }

  /// How it came out that there is no command to run.
  public enum Refusal: Error {
    /// The announcer, which read the command line, has said why, and ended so.
    case usage(exit: Int32)
    case notStarted(StartFailure)
  }

  /// Between two looks at whether the command's group has ended.
  private static let groupInterval = Duration.milliseconds(50)

  private let signals: SignalQueue
  private let remark: (Remark) -> Void
  private var announcer: AnnouncerProcess
  private let plan: CommandPlan
  private let command: SupervisedCommand
  private var policy: SignalPolicy

  /// Runs a command to its end.
  ///
  /// To be called on the main thread before there is another one.
  ///
  /// - Parameters:
  ///   - arguments: the program, which is searched for on the PATH, and its arguments, to the byte.
  ///   - readPlan: reads the command line in this process, where no other can be had.
  ///   - remark: says something, without waiting.
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
    // What we were started in may go, as a folder that is to be unmounted.
    _ = chdir("/")
    var supervisor = Supervisor(signals, remark, announcer, plan, command)
    if failure != 0 { supervisor.sayUnannounced(failure) }
    return supervisor.run()
  }

  /// The plan of the first announcer. One that ended by no fault of the command line's keeps no command
  /// from running.
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
        // Where there is room for one, it is the command's.
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
    // A terminal sends to one group only: what reaches ours does not reach another.
    options.sharesTerminal = !plan.leadsGroup
    options.leadsSession = getsid(0) == getpid()
    options.isOrphaned = !plan.leadsGroup && Self.isOrphaned
    policy = SignalPolicy(options)
  }

  /// Whether our process group is one that nobody could continue: our parent is of it too, or of
  /// another session.
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

  /// Takes every child that has ended, orphans that became ours among them; returns how the command
  /// ended if it was one of them.
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

  /// What does not run sends no heartbeats.
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

  /// Stays until the announcer has said so, or the time for it is over.
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
