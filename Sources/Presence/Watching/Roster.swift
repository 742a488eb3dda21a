/// The instances of a bus, kept up to date by a watch.
///
/// A value without I/O. It starts from a snapshot of the bus and follows its events. An event that
/// the snapshot already contains, as its number shows, is skipped. An instance that ended is kept
/// until ``forgetEnded(before:)``.
package struct Roster: Sendable {
  /// By id.
  package private(set) var statuses: [String: InstanceStatus] = [:]
  /// When an instance ended, in ms by the server's clock, as its event said.
  package private(set) var ends: [String: Int64] = [:]
  /// Differs whenever something has changed.
  package private(set) var version = 0
  private var position: Position?

  package init() {}

  /// Starts from a snapshot of the whole bus.
  package mutating func begin(with snapshot: Snapshot) {
    version += 1
    position = snapshot.position
    ends.merge(snapshot.ends) { known, _ in known }
    // Most snapshots do not say when an instance ended; then those that ended before we looked are
    // left out.
    let kept = snapshot.instances.filter { $0.isPresent || ends[$0.instance.id] != nil }
    statuses = Dictionary(kept.map { ($0.instance.id, $0) }) { $1 }
    ends = ends.filter { id, _ in statuses[id].map { !$0.isPresent } ?? false }
  }

  /// - Returns: whether anything has changed.
  @discardableResult
  package mutating func receive(_ event: Event) -> Bool {
    if let position, event.position <= position { return false }
    position = event.position
    version += 1
    let id = event.instance.id
    guard let state = InstanceStatus.State(after: event.type) else {
      (statuses[id], ends[id]) = (nil, nil)
      return true
    }
    let known = statuses[id]
    var status = InstanceStatus(
      instance: event.instance, state: state, seq: event.position.seq)
    status.usage = known?.usage
    if status.isPresent {
      status.leaseEnd = max(known?.leaseEnd ?? 0, event.at + event.instance.lease)
      ends[id] = nil
    } else {
      ends[id] = event.at
      status.usage?.cpu = nil
    }
    statuses[id] = status
    return true
  }

  /// Takes what the leases are now, and what the instances use.
  package mutating func renew(_ leases: Leases) {
    version += 1
    for (id, end) in leases.ends where statuses[id]?.isPresent == true {
      statuses[id]?.leaseEnd = end
    }
    for (id, usage) in leases.usages { statuses[id]?.usage = usage }
  }

  /// Forgets those that ended before a moment of the server's clock, in ms.
  ///
  /// - Returns: whether there were any.
  @discardableResult
  package mutating func forgetEnded(before moment: Int64) -> Bool {
    let gone = ends.filter { $0.value < moment }.keys
    if !gone.isEmpty { version += 1 }
    for id in gone { (statuses[id], ends[id]) = (nil, nil) }
    return !gone.isEmpty
  }
}

extension InstanceStatus.State {
  /// The state that an event leads to; nil for one that removes the instance.
  package init?(after type: EventType) {
    switch type {
    case .start, .back: self = .up
    case .stopping: self = .stopping
    case .stop: self = .stopped
    case .lost: self = .lost
    case .forgotten: return nil
    }
  }
}
