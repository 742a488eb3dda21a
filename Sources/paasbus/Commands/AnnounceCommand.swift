import ArgumentParser
import Platforms
import Presence
import Supervisor

struct AnnounceCommand: PaasbusSubcommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(
      commandName: "announce", _superCommandName: "paasbus",
      abstract: "Publish that this instance started, and on SIGTERM that it stopped",
      discussion: """
        With a command after --, paasbus runs it like an init process and publishes how it ended: it \
        passes signals on, exits with the status of the command, and runs it even if Redis cannot be \
        reached.

        Examples:
          paasbus announce -- node server.js
          paasbus announce --name web.1 --release v42 --meta zone=a
        """,
      // From names of the help the parser makes further ones by reflection, which takes 4 % of a start.
      helpNames: Reading.isAlone.get() ? [] : nil)
  }

  @Option(help: "Instance name (default: the platform's, or HOST.PID)")
  var name: String?

  @Option(help: "Process type, such as web or worker (default: the platform's)")
  var process: String?

  @Option(help: "Release that the instance runs (default: the platform's)")
  var release: String?

  @Option(help: "Commit that the instance runs (default: the platform's)")
  var commit: String?

  @Option(help: "Region that the instance runs in (default: the platform's)")
  var region: String?

  @Option(
    help: ArgumentHelp("Publish this key and value as well; repeatable", valueName: "key=value"))
  var meta: [String] = []

  @Option(
    name: .customLong("lease"),
    help: ArgumentHelp(
      "Report the instance as lost after this long without a heartbeat, 2s to 5m (default: 15s)",
      valueName: "duration"))
  var leaseText: String?

  @Option(
    name: .customLong("history"),
    help: ArgumentHelp(
      "Approximate number of events that the bus keeps, 1 to 10000000 (default: 1000)",
      valueName: "count"))
  var historyText: String?

  @Flag(help: "Also publish the bare words start and stop")
  var plain = false

  @Option(
    name: .customLong("stop-timeout"),
    help: ArgumentHelp("Time limit for publishing the stop (default: 3s)", valueName: "duration"))
  var stopTimeoutText: String?

  @Option(
    name: .customLong("pid"),
    help: ArgumentHelp("Announce this running process instead, until it ends", valueName: "pid"))
  var pidText: String?

  @Flag(help: "Run the command in its own process group and signal the whole group")
  var group = false

  @Flag(help: "Do not pass signals on to the command")
  var noForward = false

  @Option(
    help: ArgumentHelp(
      "Replace a signal for the command (TERM=QUIT), or drop it (TERM=); repeatable",
      valueName: "signal=signal"))
  var signal: [String] = []

  @Option(
    help: ArgumentHelp(
      "Exit with 0 if the command exits with this status, such as 143 for SIGTERM; repeatable",
      valueName: "status"))
  var okExit: [String] = []

  @Flag(help: "Reap the orphans of the command even if paasbus is not process 1")
  var subreaper = false

  @Flag(help: "Do not publish the memory and processor time that the command or process uses")
  var noUsage = false

  @Argument(
    parsing: .postTerminator,
    help: ArgumentHelp("Command to run, after '--'", valueName: "command"))
  var command: [String] = []

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  private var lease: DurationArgument {
    TypedText.duration(leaseText) ?? DurationArgument(Announcer.defaultLease)
  }
  private var stopTimeout: DurationArgument {
    TypedText.duration(stopTimeoutText) ?? DurationArgument(.seconds(3))
  }
  private var history: Int? { historyText.flatMap { Int($0) } }
  private var pid: Int? { pidText.flatMap { Int($0) } }

  func validate() throws {
    try TypedText.checkDuration(leaseText, "--lease")
    try TypedText.checkDuration(stopTimeoutText, "--stop-timeout")
    try TypedText.checkNumber(historyText, "--history <count>")
    try TypedText.checkNumber(pidText, "--pid <pid>")
    guard (.seconds(2) ... .seconds(300)).contains(lease.duration) else {
      throw ValidationError("--lease must be from 2s to 5m")
    }
    if let history, !(1...10_000_000).contains(history) {
      throw ValidationError("--history must be from 1 to 10000000")
    }
    let texts =
      [("--name", name), ("--process", process), ("--release", release), ("--commit", commit)]
      + [("--region", region)] + meta.map { ("--meta", $0) }
    for (option, text) in texts
    where text?.unicodeScalars.contains(where: \.isUnsafeInText) ?? false {
      throw ValidationError("\(option) holds control characters")
    }
    for (option, text) in texts { try Echo.refuseSecret(text, in: option) }
    if let name, name.isEmpty { throw ValidationError("--name must not be empty") }
    if pid != nil, !command.isEmpty {
      throw ValidationError("--pid cannot be used with a command")
    }
    if command.isEmpty, group || noForward || subreaper || !signal.isEmpty || !okExit.isEmpty {
      throw ValidationError(
        "--group, --no-forward, --signal, --ok-exit and --subreaper need a command after '--'")
    }
    if let status = okExit.first(where: { !(0...255).contains(Int32($0) ?? -1) }) {
      throw ValidationError("--ok-exit \(status.prefix(60)) is not an exit status from 0 to 255")
    }
    _ = try rewrites()
    if let pid, pid < 1 || Int32(exactly: pid) == nil {
      throw ValidationError("--pid must be the id of a process")
    }
    if ProcessTitle.wrappedCommand?.isEmpty ?? false {
      throw ValidationError("there is no command after '--'")
    }
    if followedID == Setup.processID {
      throw ValidationError("--pid \(Setup.processID) is paasbus itself")
    }
    if command.first == "" { throw ValidationError("the command after '--' is empty") }
    _ = try metaValues()
  }

  /// The process of `--pid`.
  private var followedID: Int32? { pid.flatMap(Int32.init(exactly:)) }

  /// Announces alone, or for a process that runs already. A command is run by ``WrappedCommand``,
  /// whose announcer reads these options in another process.
  var run: CommandRun { .onMainThread { try announce() } }

  private func announce() throws -> Never {
    let (setup, instance) = try subject(processID: followedID ?? Setup.processID)
    var announcement = announcement(setup, instance)
    if let followedID {
      if !noUsage {
        let meter = UsageMeter(of: followedID, without: [Setup.processID], setup.diagnostics)
        announcement.options.usage = { meter.measure() }
      }
      try announcement.follow(FollowedProcess.found(followedID, setup.diagnostics))
    }
    announcement.announce()
  }

  /// The setup, and the instance to announce.
  ///
  /// - Parameters:
  ///   - processID: the id of the process after which the instance is named.
  ///   - bootID: the instance's id, where it already has one.
  /// - Throws: ``Failure``.
  func subject(
    processID: Int32 = Setup.processID, bootID: String? = nil
  ) throws -> (Setup, Instance) {
    let setup = Setup(connection, timeout: limit.duration, processID: processID, bootID: bootID)
    return (setup, try instance(setup, processID))
  }

  func announcement(_ setup: Setup, _ instance: Instance) -> Announcement {
    var options = Announcer.Options()
    options.channel = setup.channel
    options.history = history
    options.stopTimeout = stopTimeout.duration
    return Announcement(setup: setup, instance: instance, options: options)
  }

  /// How a command is to be run.
  func plan(_ setup: Setup, _ instance: Instance) -> CommandPlan {
    var plan = CommandPlan()
    plan.leadsGroup = group
    plan.forwards = !noForward
    plan.platformSignalsAll = setup.identity.signalsEveryProcess
    plan.adoptsOrphans = subreaper
    plan.rewrites = (try? rewrites()) ?? [:]
    plan.acceptedExits = Set(okExit.compactMap { Int32($0) })
    plan.stopTimeout = stopTimeout.duration
    plan.isQuiet = setup.diagnostics.isQuiet
    plan.variables = [
      .init(name: "PAASBUS_INSTANCE_ID", value: instance.id),
      .init(name: "PAASBUS_INSTANCE_NAME", value: instance.name),
    ]
    return plan
  }

  /// The instance to announce, from the options, and otherwise from the platform.
  private func instance(_ setup: Setup, _ processID: Int32) throws -> Instance {
    var identity = setup.identity
    identity.name = name ?? identity.name
    identity.process = process ?? identity.process
    identity.release = release ?? identity.release
    identity.commit = commit ?? identity.commit
    identity.region = region ?? identity.region
    identity.meta.merge(try metaValues()) { $1 }
    var instance = Instance(
      identity, app: setup.app ?? Keys.defaultApp, id: setup.bootID, lease: lease.duration,
      processID: processID)
    instance.isPlain = plain
    guard instance.fitsIntoEvent else {
      throw Failure(
        .usage, "the event would be larger than 8 KiB",
        remedy: "shorten the name or leave out some --meta")
    }
    return instance
  }

  /// The signal to send instead of another; nil to send none.
  private func rewrites() throws -> [CInt: CInt?] {
    var rewrites: [CInt: CInt?] = [:]
    for item in signal {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, let from = parts.first.flatMap({ SignalName.parse(String($0)) }),
        let to = parts.last, let sent = to.isEmpty ? 0 : SignalName.parse(String(to))
      else {
        throw ValidationError(
          "--signal \(item.prefix(60)) is not of the form SIGNAL=SIGNAL, such as TERM=QUIT")
      }
      guard SignalPolicy.awaited.contains(from) else {
        throw ValidationError("--signal \(item.prefix(60)): that signal cannot be caught")
      }
      guard rewrites.updateValue(sent == 0 ? nil : sent, forKey: from) == nil else {
        throw ValidationError("--signal \(parts[0]) is given twice")
      }
    }
    return rewrites
  }

  private func metaValues() throws -> [String: String] {
    var values: [String: String] = [:]
    for item in meta {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, let key = parts.first, let value = parts.last, !key.isEmpty else {
        throw ValidationError("--meta needs KEY=VALUE")
      }
      guard values.updateValue(String(value), forKey: String(key)) == nil else {
        throw ValidationError("the key \(Echo.of(String(key))) of --meta is given twice")
      }
    }
    return values
  }
}

extension AnnounceCommand: CustomReflectable {
  var customMirror: Mirror {
    .ofOptions(
      self,
      [
        ("_name", _name), ("_process", _process), ("_release", _release),
        ("_commit", _commit), ("_region", _region), ("_meta", _meta),
        ("_leaseText", _leaseText), ("_historyText", _historyText), ("_plain", _plain),
        ("_stopTimeoutText", _stopTimeoutText), ("_pidText", _pidText), ("_group", _group),
        ("_noForward", _noForward), ("_signal", _signal), ("_okExit", _okExit),
        ("_subreaper", _subreaper), ("_noUsage", _noUsage), ("_command", _command),
        ("_connection", _connection), ("_limit", _limit),
      ])
  }
}
