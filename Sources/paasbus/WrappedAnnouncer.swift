import Presence
import Supervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The announcer of a wrapped command, in a process of its own. It publishes the news of the
/// command that come through its link. It may fail in any way, and is then started again.
struct WrappedAnnouncer {
  private let announcement: Announcement
  private let task: AnnouncerTask
  /// nil where the usage is not told.
  private let meter: UsageMeter?
  /// Whether a command that was asked to end gets SIGKILL.
  private let sendsKill: Bool
  private var diagnostics: Diagnostics { announcement.setup.diagnostics }

  /// Reads the command line, says how the command is to be run, and announces it.
  static func run(_ arguments: [String], _ link: AnnouncerLink) -> Never {
    do {
      guard case .ours(let read) = try Program.read(arguments),
        let command = read as? AnnounceCommand
      else {
        // Help was asked for.
        exit(Program.run(arguments))
      }
      let task = link.task
      let (setup, instance) = try command.subject(
        processID: task.supervisor, bootID: task.facts["id"])
      if task.command == nil, task.predecessors == 0 {
        link.tell(command.plan(setup, instance))
        link.leave("id", instance.id)
        if let shell = ShellWithoutExec(ProcessTitle.wrappedWords) {
          setup.diagnostics.detail(.shellWithoutExec(shell.name))
        }
      }
      let plan = command.plan(setup, instance)
      try WrappedAnnouncer(
        command.announcement(setup, instance), task, measures: !command.noUsage,
        sendsKill: plan.rewrites.values.contains(SIGKILL)
      ) { link.leave("kills", $0) }.run(link)
    } catch {
      exit(Program.report(error))
    }
  }

  private init(
    _ announcement: Announcement, _ task: AnnouncerTask, measures: Bool, sendsKill: Bool,
    leaveKills: @escaping @Sendable (String) -> Void
  ) {
    (self.task, self.sendsKill) = (task, sendsKill)
    let meter =
      measures
      ? UsageMeter(
        of: task.supervisor, without: [task.supervisor, getpid()], left: task.facts["kills"],
        announcement.setup.diagnostics, leave: leaveKills)
      : nil
    self.meter = meter
    var announcement = announcement
    announcement.began = task.began
    announcement.options.failsWhenRefused = false
    announcement.options.tellsShortRuns = true
    if let meter { announcement.options.usage = { meter.measure() } }
    // A little less than the supervisor waits, so that there is time to report the outcome.
    announcement.options.stopTimeout -= min(
      .milliseconds(500), announcement.options.stopTimeout * 0.2)
    if task.predecessors > 0 {
      announcement.options.succeeds = true
      announcement.options.lastChannel = task.facts["channel"]
      announcement.instance.started = task.facts["started"].flatMap(Int64.init)
    }
    self.announcement = announcement
  }

  /// Announces until everything has been published, or the supervisor has ended.
  private func run(_ link: AnnouncerLink) throws -> Never {
    do {
      try Threads.check(usesPool: false)
    } catch {
      let failure = Failure(error)
      if !task.hasComplained {
        diagnostics.note(.notYetAnnounced(failure))
      }
      exit(AnnouncerLink.Exit.unable)
    }
    let (news, teller) = AsyncStream<AnnouncerLink.News>.makeStream()
    if let command = task.command { teller.yield(.started(command)) }
    if let reason = task.drainReason { teller.yield(.draining(reason: reason)) }
    if let status = task.status { teller.yield(.ended(status)) }
    Task(executorPreference: Announcement.thread()) {
      await announce(news) { link.leave($0, $1) }
      exit(AnnouncerLink.Exit.done)
    }
    var link = link
    var command = task.command
    while let item = link.next() {
      if case .started(let process) = item { command = process }
      teller.yield(item)
    }
    // The supervisor was killed. Where the system does not signal that to the command, we do.
    if let command, !command.isTied { kill(command.id, SIGTERM) }
    _exit(ExitStatus.failed.rawValue)
  }

  private func announce(
    _ news: AsyncStream<AnnouncerLink.News>, leave: @escaping @Sendable (String, String) -> Void
  ) async {
    // A command that cannot be executed is not announced.
    var first = news.makeAsyncIterator()
    guard case .started(let command)? = await first.next() else { return }
    meter?.began(command.id)
    let announcer: Announcer
    do {
      announcer = try await announcement.announcer { channel, started in
        leave("channel", channel)
        leave("started", "\(started)")
      }
    } catch {
      return Diagnostics.tell(.notAnnounced(Failure(error)))
    }
    // We leave the folder, so that it can be removed or unmounted. Names of files were made
    // absolute before.
    _ = chdir("/")
    async let telling: Void = tell(announcer, news)
    switch try? await announcer.run() {
    case .undelivered(let error):
      diagnostics.note(.undelivered(error))
    case .unanswered: diagnostics.note(.unanswered)
    case .stopped, .neverAnnounced, nil: break
    }
    await telling
  }

  /// Passes the news of the command to the announcer, until the command has ended.
  private func tell(
    _ announcer: Announcer, _ news: AsyncStream<AnnouncerLink.News>
  ) async {
    var reason: String?
    for await item in news {
      switch item {
      case .draining(let signal):
        reason = signal
        announcer.drain(reason: signal)
      case .ended(let status):
        let own = ownReason(status)
        // The kernel may have killed a worker, and its parent has ended for want of it.
        if own != "oom" { meter?.ended() }
        return announcer.stop(
          InstanceStop(
            reason: reason ?? own, exit: status.shellStatus, signal: status.signalName))
      case .started, .failed: continue
      }
    }
  }
}

extension WrappedAnnouncer {
  /// The reason for the end of a command that no signal had asked to end.
  private func ownReason(_ status: CommandStatus) -> String {
    guard let signal = status.signalName else { return "exit" }
    return signal == "SIGKILL" && !sendsKill && meter?.killedCommand == true ? "oom" : "signal"
  }
}

/// A shell with a script on its command line that does not use `exec`, so that the shell stays the
/// parent of what it runs.
private struct ShellWithoutExec {
  let name: String

  init?(_ command: [String]) {
    let name = command.first?.split(separator: "/").last.map(String.init) ?? ""
    guard ["sh", "ash", "bash", "dash", "ksh", "zsh"].contains(name),
      let flag = command.firstIndex(where: { $0.hasPrefix("-") && $0.hasSuffix("c") }),
      let script = command.dropFirst(flag + 1).first,
      !script.split(whereSeparator: \.isWhitespace).contains("exec")
    else { return nil }
    self.name = name
  }
}
