import Presence
import Supervisor
import Synchronization

/// Measures what a command or a followed process uses, and notices when the kernel kills for lack of memory.
final class UsageMeter: Sendable {
  private let sampler: UsageSampler
  private let diagnostics: Diagnostics
  /// The command, once it was started, and how many of its processes were said to be killed.
  private let state: Mutex<(command: Int32?, told: Int64)>
  /// Leaves how often the kernel has killed for an announcer that may take over.
  private let leave: @Sendable (String) -> Void

  /// - Parameters:
  ///   - root: the process whose descendants are measured.
  ///   - hidden: those of them that are ours.
  ///   - left: what another one has left.
  init(
    of root: Int32, without hidden: Set<Int32> = [], left: String? = nil,
    _ diagnostics: Diagnostics,
    leave: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    let counts = (left ?? "").split(separator: " ").compactMap { Int64($0) }
    let kills = counts.count == 2 ? MemoryKills(first: counts[0], known: counts[1]) : nil
    sampler = UsageSampler(of: root, without: hidden, kills: kills)
    (self.diagnostics, self.leave) = (diagnostics, leave)
    state = Mutex((nil, kills?.count ?? 0))
    if kills == nil { leaveKills() }
  }

  private func leaveKills() {
    if let kills = sampler.kills { leave("\(kills.first) \(kills.known)") }
  }

  func began(_ command: Int32) { state.withLock { $0.command = command } }

  /// What goes out with a heartbeat.
  func measure() -> InstanceUsage? {
    guard let measured = sampler.sample(command: state.withLock(\.command)) else { return nil }
    tellKills(limit: measured.limit)
    var usage = InstanceUsage()
    (usage.memory, usage.limit, usage.cpu) = (measured.memory, measured.limit, measured.processors)
    usage.processes = measured.processes.map(Int64.init)
    if let kills = sampler.kills?.count, kills > 0 { usage.oomKills = kills }
    return usage
  }

  /// Says so where the kernel has killed more than was said.
  private func tellKills(limit: Int64?) {
    let kills = sampler.kills?.count ?? 0
    let isMore = state.withLock { state in
      defer { state.told = max(state.told, kills) }
      return kills > state.told
    }
    guard isMore else { return }
    leaveKills()
    diagnostics.note(.killedForMemory(count: kills, limit: limit))
  }

  /// Whether a command that has just ended by SIGKILL was killed for lack of memory.
  var killedCommand: Bool { sampler.killsForMemory }

  /// The command has ended otherwise, perhaps since a process of it was killed.
  func ended() {
    sampler.countKills()
    tellKills(limit: nil)
  }
}
