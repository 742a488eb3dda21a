import Presence

/// By what instances are sorted; the name and the id decide where that is the same.
package enum InstanceOrder: String, Sendable, CaseIterable {
  case name, state, up, beat, memory, cpu, release, place

  /// Whether it is by what instances use, which not all fleets tell.
  package var isUsage: Bool { self == .memory || self == .cpu }

  /// - Parameter state: the state of an instance at the moment that counts.
  package func precedes(
    _ one: InstanceStatus, _ other: InstanceStatus,
    state: (InstanceStatus) -> InstanceStatus.State
  ) -> Bool {
    let isBefore: Bool? =
      switch self {
      case .name: nil
      // The one that has been up for longest comes first, and the beat that is longest ago.
      case .up: differing(one.instance.started ?? 0, other.instance.started ?? 0)
      case .beat: differing(one.lastBeat ?? 0, other.lastBeat ?? 0)
      // Those that use most come first.
      case .memory: differing(other.memoryRank, one.memoryRank)
      case .cpu: differing(other.usage?.cpu ?? 0, one.usage?.cpu ?? 0)
      case .release: differing(one.instance.release ?? "", other.instance.release ?? "")
      case .state: differing(state(one).rank, state(other).rank)
      case .place: differing(one.instance.place ?? "", other.instance.place ?? "")
      }
    return isBefore
      ?? ((one.instance.name, one.instance.id) < (other.instance.name, other.instance.id))
  }

  /// The indices of instances in this order, of which the first are wanted. Indices, since instances are large, and
  /// sorting moves its elements often.
  package func indices(
    of statuses: [InstanceStatus], isReversed: Bool,
    state: (InstanceStatus) -> InstanceStatus.State
  ) -> [Int] {
    let ascending = statuses.indices.sorted { precedes(statuses[$0], statuses[$1], state: state) }
    return isReversed ? ascending.reversed() : ascending
  }

  private func differing<Value: Comparable>(_ one: Value, _ other: Value) -> Bool? {
    one == other ? nil : one < other
  }
}

/// A text that is looked for in what the table shows of an instance, whatever its case.
package struct InstanceSearch: Sendable {
  private let text: String

  package init(_ text: String) {
    self.text = text.lowercased()
  }

  package func finds(_ status: InstanceStatus, state: InstanceStatus.State) -> Bool {
    guard !text.isEmpty else { return true }
    let instance = status.instance
    return [
      instance.name, state.rawValue, instance.release, instance.platform, instance.region,
      instance.host, instance.id,
    ].contains { $0?.lowercased().contains(text) ?? false }
  }
}

extension InstanceStatus.State {
  /// Instances that need attention come first.
  fileprivate var rank: Int {
    switch self {
    case .lost: 0
    case .overdue: 1
    case .stopping: 2
    case .up: 3
    case .stopped: 4
    }
  }
}
