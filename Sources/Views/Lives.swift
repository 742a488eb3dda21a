import Presence

/// The lives of instances, from the history and a snapshot of the bus.
package struct Lives {
  package struct Change {
    /// In ms by the server's clock.
    package var at: Int64
    package var type: EventType
  }

  package struct Life {
    package var instance: Instance
    /// In the order of their time.
    package var changes: [Change] = []

    fileprivate var lastChange: Int64 { changes.last?.at ?? instance.started ?? 0 }

    /// The state before the first change; nil where the instance had not begun, or where nothing is
    /// known. Before `back`, the instance was lost, or Redis had lost its data.
    package var stateBefore: InstanceStatus.State? {
      switch changes.first?.type {
      case .start, .back: nil
      case .stopping, .stop, .lost, .forgotten, nil: .up
      }
    }
  }

  /// By id.
  private var lives: [String: Life] = [:]

  package init() {}

  package mutating func add(_ event: Event) {
    lives[event.instance.id, default: Life(instance: event.instance)].changes
      .append(Change(at: event.at, type: event.type))
  }

  /// Adds an instance that is present and for which no event is known.
  package mutating func add(_ status: InstanceStatus) {
    guard status.isPresent, lives[status.instance.id] == nil else { return }
    var life = Life(instance: status.instance)
    if status.state == .stopping {
      life.changes = [Change(at: status.instance.started ?? 0, type: .stopping)]
    }
    lives[status.instance.id] = life
  }

  /// The instance that began first comes first.
  package var sorted: [Life] { Self.sorted(Array(lives.values)) }

  package var count: Int { lives.count }

  /// Those that changed last, at most `count` of them; the instance that began first comes first.
  package func latest(_ count: Int) -> [Life] {
    let ids = lives.map { (id: $0.key, change: $0.value.lastChange) }
      .sorted { $0.change > $1.change }.prefix(count)
    return Self.sorted(ids.compactMap { lives[$0.id] })
  }

  private static func sorted(_ lives: [Life]) -> [Life] {
    lives.sorted {
      ($0.instance.started ?? 0, $0.instance.name, $0.instance.id)
        < ($1.instance.started ?? 0, $1.instance.name, $1.instance.id)
    }
  }

  /// The time of the first change, in ms.
  package var beginning: Int64? { lives.values.compactMap { $0.changes.first?.at }.min() }
}
