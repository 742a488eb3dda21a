import Presence

/// The life of an instance, divided into cells of equal time.
package struct Lane {
  package enum Cell {
    case nothing
    case state(InstanceStatus.State)
    /// The most important change in the cell.
    case change(EventType)
  }

  package let instance: Instance
  package private(set) var cells: [Cell] = []

  package init(_ life: Lives.Life, window: Range<Int64>, width: Int) {
    instance = life.instance
    var state = life.stateBefore
    var rest = life.changes[...]
    for index in 0..<width {
      let end = window.moment(index + 1, of: width)
      var marked: EventType?
      while let change = rest.first, change.at < end || index == width - 1 {
        rest.removeFirst()
        if change.at >= window.lowerBound { marked = change.type.moreTelling(than: marked) }
        state = change.type.stateAfter
      }
      // Before the first change, the instance is shown only from its beginning on.
      let hasBegun = rest.count < life.changes.count || (life.instance.started ?? 0) < end
      cells.append(marked.map(Cell.change) ?? (hasBegun ? state.map(Cell.state) : nil) ?? .nothing)
    }
  }
}

/// How many instances were up, in cells of equal time.
package struct UpCounts {
  package private(set) var cells: [(low: Int, high: Int)] = []
  package var most: Int { cells.map(\.high).max() ?? 0 }

  package init(_ lives: [Lives.Life], window: Range<Int64>, width: Int) {
    var steps: [(at: Int64, change: Int)] = []
    for life in lives {
      var isUp = life.stateBefore == .up
      if isUp { steps.append((life.instance.started ?? 0, 1)) }
      for change in life.changes {
        let willBeUp = change.type.stateAfter == .up
        if willBeUp != isUp { steps.append((change.at, willBeUp ? 1 : -1)) }
        isUp = willBeUp
      }
    }
    // Of changes at the same moment, those that add an instance count first.
    var rest = steps.sorted { ($0.at, $1.change) < ($1.at, $0.change) }[...]
    var count = 0
    while let step = rest.first, step.at < window.lowerBound {
      count += step.change
      rest.removeFirst()
    }
    for index in 0..<width {
      let end = window.moment(index + 1, of: width)
      var (low, high) = (count, count)
      while let step = rest.first, step.at < end || index == width - 1 {
        count += step.change
        (low, high) = (min(low, count), max(high, count))
        rest.removeFirst()
      }
      cells.append((low, high))
    }
  }
}

extension Range<Int64> {
  /// The moment at which the part `index` of `count` equal parts begins.
  fileprivate func moment(_ index: Int, of count: Int) -> Int64 {
    let share = Double(upperBound - lowerBound) * Double(index) / Double(count)
    return lowerBound + Int64(share)
  }
}

extension EventType {
  /// The state after the event; nil where the instance is no longer shown.
  fileprivate var stateAfter: InstanceStatus.State? {
    let state = InstanceStatus.State(after: self)
    return state == .stopped ? nil : state
  }

  /// The event of the two that is more important to an operator.
  fileprivate func moreTelling(than other: EventType?) -> EventType {
    let order: [EventType] = [.stopping, .start, .forgotten, .stop, .back, .lost]
    guard let other, let own = order.firstIndex(of: self), let its = order.firstIndex(of: other)
    else { return self }
    return own >= its ? self : other
  }
}
