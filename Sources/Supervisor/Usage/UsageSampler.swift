import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a command, or another process with its descendants, uses at a moment.
public struct ProcessUsage: Sendable, Hashable {
  /// In bytes; nil where the system does not tell.
  public var memory: Int64?
  /// In bytes; nil where there is no limit that is its own.
  public var limit: Int64?
  /// How much of a processor it used since the last sample, 2 being two of them; nil for the first sample.
  public var processors: Double?
  /// How many processes it has.
  public var processes: Int?
  /// How many of them the kernel has killed since they ran out of memory, since the first sample.
  public var memoryKills: Int64
}

/// Measures what a command uses: by its control group where that is its own, as in a container, and else by `/proc`.
public final class UsageSampler: Sendable {
  /// How much was used up to a moment, and who counted it.
  private struct ProcessorTime {
    var seconds: Double
    var isGroup: Bool
    var at: ContinuousClock.Instant
  }

  private struct State {
    var lastTime: ProcessorTime?
    /// The kernel's count of those that it killed: at the beginning, and when the command was last seen alive.
    var firstKills: Int64?
    var knownKills: Int64 = 0
    /// When a sample last found that the count had risen.
    var lastRise: ContinuousClock.Instant?
  }

  /// A command that the kernel has chosen takes up to this long to be gone.
  private static let dyingTime = Duration.seconds(2)

  private let root: pid_t
  private let hidden: Set<pid_t>
  private let isContainer: Bool
  private let group: ControlGroup?
  private let state = Mutex(State())

  /// - Parameters:
  ///   - root: the process whose descendants are measured.
  ///   - hidden: those of them that are ours.
  public init(of root: pid_t, without hidden: Set<pid_t> = []) {
    (self.root, self.hidden) = (root, hidden)
    isContainer = getpid() == 1 || hidden.contains(1) || root == 1
    group = ControlGroup(of: root)
    let kills = group?.memoryKills
    state.withLock { ($0.firstKills, $0.knownKills) = (kills, kills ?? 0) }
  }

  /// Takes some 0.1 ms.
  ///
  /// - Parameter command: the process that was started first, where it is known.
  /// - Returns: nil where nothing runs.
  public func sample(command: pid_t? = nil) -> ProcessUsage? {
    // Before it is looked whether the command is alive: so a kill that was counted is not taken for an earlier one.
    let kills = group?.memoryKills
    let tree = ProcessTree(of: root, without: hidden)
    let now = ContinuousClock.now
    guard !tree.ids.isEmpty else { return nil }
    let everybody = tree.ids.union(hidden).union([root])
    let ownGroup = group.flatMap { isContainer || $0.isMemory(of: everybody) ? $0 : nil }
    let hasOwnProcessor = isContainer || group?.isProcessor(of: everybody) ?? false
    let counted = hasOwnProcessor ? group?.processorTime : nil
    let time = ProcessorTime(
      seconds: counted ?? tree.processorTime, isGroup: counted != nil, at: now)
    var usage = ProcessUsage(
      memory: ownGroup?.usedMemory ?? tree.memory, limit: ownGroup?.maxMemory,
      processes: tree.ids.count, memoryKills: 0)
    state.withLock { state in
      if let last = state.lastTime, last.isGroup == time.isGroup {
        let passed = (now - last.at) / .seconds(1)
        if passed > 0 { usage.processors = max(0, (time.seconds - last.seconds) / passed) }
      }
      state.lastTime = time
      usage.memoryKills = max(0, (kills ?? 0) - (state.firstKills ?? 0))
      guard let kills, command.map(ProcessTree.isAlive) ?? true else { return }
      if kills > state.knownKills { state.lastRise = now }
      state.knownKills = kills
    }
    return usage
  }

  /// Whether the kernel killed a process of the command, since that ran out of memory, after the command was last
  /// seen alive, or shortly before.
  public var killsForMemory: Bool {
    let kills = group?.memoryKills ?? 0
    return state.withLock { state in
      kills > state.knownKills
        || state.lastRise.map { ContinuousClock.now - $0 < Self.dyingTime } ?? false
    }
  }
}
