import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What an announcer has to know when it starts, since the command may run already. The announcer
/// is forked, so it has this in its memory.
public struct AnnouncerTask: Sendable {
  /// The process that runs the command.
  public let supervisor: pid_t
  /// When the command was started, or was about to be.
  public let began: ContinuousClock.Instant
  /// How many earlier announcers may have announced the command.
  public internal(set) var predecessors = 0
  /// What the earlier announcers have left for later ones, by name.
  public internal(set) var facts: [String: String] = [:]
  /// nil as long as the command has not been started.
  public internal(set) var command: ChildProgram.Process?
  public internal(set) var drainReason: String?
  public internal(set) var status: CommandStatus?
  /// Whether the user was already told that an announcer cannot work.
  public internal(set) var hasComplained = false
}

/// The announcer's link to the supervisor, in both directions.
public struct AnnouncerLink: Sendable {
  public enum News: Sendable {
    case started(ChildProgram.Process)
    /// The command could not be executed.
    case failed
    case draining(reason: String)
    case ended(CommandStatus)
  }

  /// Exit statuses that tell the supervisor how to react to the announcer's end.
  public enum Exit {
    /// There is nothing to do, or nothing left to do.
    public static let done: Int32 = 0
    /// The announcer cannot work just now, and has told the user so.
    public static let unable: Int32 = 75
  }

  public let task: AnnouncerTask
  private var down: WordPipe
  private let up: WordPipe

  init(task: AnnouncerTask, down: WordPipe, up: WordPipe) {
    (self.task, self.down, self.up) = (task, down, up)
  }

  /// Tells how the command is to be run; the supervisor waits for this before it starts the
  /// command.
  public func tell(_ plan: CommandPlan) {
    up.write(plan.words + [""])
  }

  /// Leaves a value for a later announcer, which may have to replace this one.
  public func leave(_ name: String, _ value: String) {
    up.write(["\(name)=\(value)"])
  }

  /// Waits for the next news; nil once the supervisor has ended.
  public mutating func next() -> News? {
    while let word = down.next() {
      guard let (name, value) = CommandPlan.parts(word, at: "=") else { continue }
      switch name {
      case "command":
        let parts = value.split(separator: ",").compactMap { pid_t($0) }
        if parts.count == 2 { return .started(.init(id: parts[0], isTied: parts[1] == 1)) }
      case "failed": return .failed
      case "drain": return .draining(reason: value)
      case "ended": if let status = CInt(value) { return .ended(CommandStatus(waitStatus: status)) }
      default: continue
      }
    }
    return nil
  }
}

/// The announcer as the supervisor sees it: starts it, sends it news, and starts it again when it
/// fails.
struct AnnouncerProcess {
  /// The waits before the announcer is started again.
  private static let waits: [Duration] = [
    .zero, .milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2), .seconds(5),
  ]
  /// An announcer that lived for longer than this did not fail at the start.
  private static let longLife = Duration.seconds(10)

  private(set) var task: AnnouncerTask
  private let body: (AnnouncerLink) -> Never
  private(set) var id: pid_t?
  private var down: WordPipe?
  private var up: WordPipe?
  private var failures = 0
  private var begun = ContinuousClock.now
  /// Whether an announcer has nothing left to do.
  private(set) var isDone = false
  /// When to start an announcer; nil while one runs, or none is wanted.
  private(set) var nextStart: ContinuousClock.Instant?

  /// Whether an announcer runs or is to be started.
  var isWanted: Bool { !isDone && (id != nil || nextStart != nil) }

  init(_ body: @escaping (AnnouncerLink) -> Never) {
    task = AnnouncerTask(supervisor: getpid(), began: .now)
    self.body = body
  }

  /// Starts an announcer.
  ///
  /// - Returns: 0, or the error number where it cannot be started now; it is then tried again
  ///   later.
  mutating func start() -> CInt {
    close()
    nextStart = nil
    guard let down = WordPipe(), let up = WordPipe() else { return retry(errno) }
    begun = .now
    let child = csupervisor_fork(SIGKILL)
    if child == 0 {
      _ = Self.close(down.writing)
      _ = Self.close(up.reading)
      body(AnnouncerLink(task: task, down: down, up: up))
    }
    let failure = errno
    _ = Self.close(down.reading)
    _ = Self.close(up.writing)
    (self.down, self.up) = (down, up)
    guard child > 0 else {
      close()
      return retry(failure)
    }
    id = child
    return 0
  }

  private mutating func retry(_ failure: CInt) -> CInt {
    if task.status != nil, task.predecessors == 0 {
      isDone = true
    } else {
      schedule()
    }
    return failure == 0 ? EAGAIN : failure
  }

  /// Whether the user has not been told yet that no announcer can work. Counts as told from here
  /// on.
  mutating func complainsFirst() -> Bool {
    defer { task.hasComplained = true }
    return !task.hasComplained
  }

  private mutating func schedule() {
    let wait = Self.waits[min(failures, Self.waits.count - 1)]
    failures += 1
    nextStart = .now + wait
  }

  /// Waits for the plan; nil where the announcer ended without sending one.
  mutating func plan() -> CommandPlan? {
    var words: [String] = []
    while let word = up?.next() {
      if word.isEmpty { return CommandPlan(words: words) }
      words.append(word)
    }
    return nil
  }

  // MARK: Telling

  mutating func commandStarted(_ process: ChildProgram.Process) {
    task.command = process
    down?.write(["command=\(process.id),\(process.isTied ? 1 : 0)"])
  }

  mutating func commandFailed() {
    isDone = true
    down?.write(["failed="])
  }

  mutating func draining(_ reason: String) {
    task.drainReason = reason
    down?.write(["drain=\(reason)"])
  }

  mutating func commandEnded(_ status: CommandStatus) {
    task.status = status
    signal(SIGCONT)
    down?.write(["ended=\(status.waitStatus)"])
    if id == nil, !isDone { nextStart = .now }
  }

  func signal(_ number: CInt) {
    if let id { kill(id, number) }
  }

  // MARK: Its end

  /// Notes that the announcer has ended, with the status from `waitpid`.
  mutating func ended(_ status: CommandStatus) {
    for word in up?.takeAvailable() ?? [] {
      if let (name, value) = CommandPlan.parts(word, at: "=") { task.facts[name] = value }
    }
    close()
    id = nil
    if status == .exited(AnnouncerLink.Exit.done) {
      isDone = true
      return
    }
    if status == .exited(AnnouncerLink.Exit.unable) {
      task.hasComplained = true
      // A command that has ended and was never announced needs no `stop`.
      if task.status != nil, task.predecessors == 0 {
        isDone = true
        return
      }
    } else if task.command != nil {
      task.predecessors += 1
    }
    if ContinuousClock.now - begun > Self.longLife { failures = 0 }
    schedule()
    // After the command's end, the next announcer starts soon, so that the `stop` is not delayed.
    if task.status != nil, let next = nextStart {
      nextStart = min(next, .now + .milliseconds(50))
    }
  }

  /// Kills the announcer, so that there is room for the command.
  mutating func makeRoom() {
    guard let id else { return }
    kill(id, SIGKILL)
    var status: CInt = 0
    while waitpid(id, &status, 0) == -1, errno == EINTR { continue }
    ended(CommandStatus(waitStatus: status))
  }

  private mutating func close() {
    if let down { _ = Self.close(down.writing) }
    if let up { _ = Self.close(up.reading) }
    (down, up) = (nil, nil)
  }

  private static func close(_ descriptor: CInt) -> CInt {
    #if canImport(Glibc)
      Glibc.close(descriptor)
    #elseif canImport(Musl)
      Musl.close(descriptor)
    #else
      Darwin.close(descriptor)
    #endif
  }
}
