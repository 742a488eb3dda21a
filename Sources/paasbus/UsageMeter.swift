import Presence
import Supervisor
import Synchronization

/// Measures what a command or a followed process uses, and notices when the kernel kills for lack of memory.
final class UsageMeter: Sendable {
  private let sampler: UsageSampler
  private let diagnostics: Diagnostics
  /// The command, once it was started, and how many of its processes were killed so far.
  private let state = Mutex<(command: Int32?, kills: Int64)>((nil, 0))

  /// - Parameters:
  ///   - root: the process whose descendants are measured.
  ///   - hidden: those of them that are ours.
  init(of root: Int32, without hidden: Set<Int32> = [], _ diagnostics: Diagnostics) {
    sampler = UsageSampler(of: root, without: hidden)
    self.diagnostics = diagnostics
  }

  func began(_ command: Int32) { state.withLock { $0.command = command } }

  /// What goes out with a heartbeat.
  func measure() -> InstanceUsage? {
    guard let measured = sampler.sample(command: state.withLock(\.command)) else { return nil }
    let isMore = state.withLock { state in
      defer { state.kills = max(state.kills, measured.memoryKills) }
      return measured.memoryKills > state.kills
    }
    if isMore {
      diagnostics.note(.killedForMemory(count: measured.memoryKills, limit: measured.limit))
    }
    var usage = InstanceUsage()
    (usage.memory, usage.limit, usage.cpu) = (measured.memory, measured.limit, measured.processors)
    usage.processes = measured.processes.map(Int64.init)
    if measured.memoryKills > 0 { usage.oomKills = measured.memoryKills }
    return usage
  }

  /// Whether a command that has just ended by SIGKILL was killed for lack of memory.
  var killedCommand: Bool { sampler.killsForMemory }
}
