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
}

/// The kernel's count of processes that it killed because the memory ran out.
public struct MemoryKills: Sendable, Hashable {
  /// When the instance began.
  public var first: Int64
  /// When its command was last seen alive.
  public var known: Int64

  /// Counts of one who measured before.
  public init(first: Int64, known: Int64) {
    (self.first, self.known) = (first, known)
  }

  /// How many it were since the beginning.
  public var count: Int64 { max(0, known - first) }
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
    var kills: MemoryKills?
    /// When a sample last found that the kernel had killed.
    var lastRise: ContinuousClock.Instant?
    /// In how many samples in a row others were in the group; nil before the first sample.
    var strangers: Int?
  }

  /// A command that the kernel has chosen takes up to this long to be gone.
  private static let dyingTime = Duration.seconds(2)

  private let root: pid_t
  private let hidden: Set<pid_t>
  /// Those above: what starts a container, a shell.
  private let ancestors: Set<pid_t>
  private let group: ControlGroup?
  private let state = Mutex(State())

  /// - Parameters:
  ///   - root: the process whose descendants are measured.
  ///   - hidden: those of them that are ours.
  ///   - kills: as they stood for one that measured before; nil for the first.
  public init(of root: pid_t, without hidden: Set<pid_t> = [], kills: MemoryKills? = nil) {
    (self.root, self.hidden) = (root, hidden)
    ancestors = ProcessStatus.ancestors(of: root)
    group = ControlGroup(of: root)
    let counted = group?.memoryKills
    state.withLock { $0.kills = kills ?? counted.map { MemoryKills(first: $0, known: $0) } }
  }

  /// How often the kernel has killed, as of the last sample; nil where that is not known.
  public var kills: MemoryKills? { state.withLock(\.kills) }

  /// Takes some 0.2 ms.
  ///
  /// - Parameter command: the process that was started first, where it is known.
  /// - Returns: nil where nothing runs.
  public func sample(command: pid_t? = nil) -> ProcessUsage? {
    // Before it is looked whether the command is alive: so a kill that was counted is not taken for an earlier one.
    let counted = group?.memoryKills
    let own = ownMembers(isSample: true)
    let members = own?.ids
    let tree = members.map { ProcessTree($0) } ?? ProcessTree(of: root, without: hidden)
    let now = ContinuousClock.now
    if let counted {
      if own?.isAlone == true { note(counted, command, now) } else { ignore(counted) }
    }
    guard !tree.ids.isEmpty else { return nil }
    var usage = ProcessUsage(
      memory: tree.memory, processes: members?.count ?? tree.ids.count)
    if members != nil, let group {
      (usage.memory, usage.limit) = (group.usedMemory ?? tree.memory, group.maxMemory)
    }
    usage.processors = processors(members, tree, now)
    return usage
  }

  /// Whether the kernel killed a process of the command, since the memory ran out, after the command was last seen
  /// alive, or shortly before.
  public var killsForMemory: Bool {
    guard let counted = group?.memoryKills, ownMembers()?.isAlone == true else { return false }
    return state.withLock { state in
      counted > state.kills?.known ?? counted
        || state.lastRise.map { ContinuousClock.now - $0 < Self.dyingTime } ?? false
    }
  }

  /// Notes what the kernel has killed up to now, whether or not the command is alive.
  public func countKills() {
    if ownMembers()?.isAlone == true, let counted = group?.memoryKills { note(counted, nil, .now) }
  }

  private func note(_ counted: Int64, _ command: pid_t?, _ now: ContinuousClock.Instant) {
    guard command.map({ ProcessStatus($0)?.isAlive ?? false }) ?? true else { return }
    state.withLock { state in
      guard let known = state.kills?.known, counted > known else { return }
      state.kills?.known = counted
      state.lastRise = now
    }
  }

  /// Notes kills in a group that has other processes too: they are not counted as this instance's.
  private func ignore(_ counted: Int64) {
    state.withLock { state in
      guard let known = state.kills?.known, counted > known else { return }
      state.kills?.first += counted - known
      state.kills?.known = counted
    }
  }

  private func processors(
    _ members: Set<pid_t>?, _ tree: ProcessTree, _ now: ContinuousClock.Instant
  ) -> Double? {
    let isOwn = members.map { group?.countsProcessors(of: $0.union(ours)) ?? false } ?? false
    let counted = isOwn ? group?.processorTime : nil
    guard let seconds = counted ?? tree.processorTime else { return nil }
    let time = ProcessorTime(seconds: seconds, isGroup: counted != nil, at: now)
    return state.withLock { state in
      defer { state.lastTime = time }
      guard let last = state.lastTime, last.isGroup == time.isGroup else { return nil }
      let passed = (now - last.at) / .seconds(1)
      return passed > 0 ? max(0, (seconds - last.seconds) / passed) : nil
    }
  }

  private var ours: Set<pid_t> { hidden.union(ancestors) }

  /// The processes of the group where it is its own: where there is nothing in it but what we measure, ourselves and
  /// those above us.
  ///
  /// - Returns: also whether no others were in it since the last sample.
  private func ownMembers(isSample: Bool = false) -> (ids: Set<pid_t>, isAlone: Bool)? {
    // Of a process in another container, ours may have been found.
    guard let ids = group?.processes, ids.contains(root) else { return nil }
    let members = ids.subtracting(ours)
    let isOwn =
      getpid() == 1 || hidden.contains(1) || root == 1
      || members.allSatisfy { isDescendant($0) }
    return state.withLock { state in
      let before = state.strangers
      if isSample { state.strangers = isOwn ? 0 : (before ?? 0) + 1 }
      if isOwn { return (members, before ?? 0 == 0) }
      // One that is just being started, or looks in for a moment, does not change whose it is.
      return before == 0 ? (members, false) : nil
    }
  }

  private func isDescendant(_ id: pid_t) -> Bool {
    guard id != root else { return true }
    var (next, steps) = (ProcessStatus(id)?.parent, 0)
    // A process that has ended meanwhile does not count.
    guard next != nil else { return id != 0 }
    while let id = next, id > 1, steps < 64 {
      if id == root || hidden.contains(id) { return true }
      (next, steps) = (ProcessStatus(id)?.parent, steps + 1)
    }
    return false
  }
}
