import Presence
import Terminal

/// What `top` shows, and how keys change it. A value without I/O.
package struct TopModel: Sendable {
  /// The keys that sort.
  private static let orders: [Character: InstanceOrder] = [
    "n": .name, "u": .up, "b": .beat, "r": .release, "s": .state,
    "m": .memory, "c": .cpu,
  ]

  package enum Mode: Sendable, Hashable {
    case table
    case typingFilter
    /// All details of one instance.
    case details(id: String)
  }

  /// What a key asks for that the model cannot do itself.
  package enum Effect: Sendable, Hashable {
    case quit, suspend
    /// The last events of an instance have to be looked up.
    case readEvents(id: String)
  }

  /// How many events of an instance are shown.
  package static let maxEvents = 50
  /// For how long an instance that ended is shown, in ms.
  private static let remembrance: Int64 = 60_000

  package private(set) var mode = Mode.table
  package private(set) var order = InstanceOrder.name
  package private(set) var isReversed = false
  package private(set) var filter = ""
  package private(set) var selection: String?
  /// The events of the instance whose details are shown, the oldest first.
  package private(set) var events: [Event] = []
  package private(set) var hub = HubState(app: nil)
  /// The instances that pass the filter, in order; nil where that has to be computed again.
  private var sorted: [InstanceStatus]?
  /// The first row of the table that is visible.
  package private(set) var top = 0
  /// How many rows of the table are visible.
  package var visibleRows = 1
  /// The first line of the details that is visible.
  package private(set) var detailsTop = 0

  package init() {}

  // MARK: News

  /// Takes the present state of the hub.
  package mutating func receive(_ state: HubState) {
    if state.roster.version != hub.roster.version { sorted = nil }
    hub = state
    guard case .details(let id) = mode else { return }
    let last = events.last?.position ?? Position(epoch: 0, seq: 0)
    let news = state.events.filter { $0.instance.id == id && $0.position > last }
    events = (events + news).suffix(Self.maxEvents)
  }

  /// Takes the events of an instance that were looked up; events that came meanwhile are newer.
  package mutating func receive(events older: [Event], of id: String) {
    guard case .details(id) = mode else { return }
    let known = Set(events.map(\.position))
    events = (older.filter { !known.contains($0.position) } + events).suffix(Self.maxEvents)
  }

  /// The server's time, in ms; nil before it has been asked.
  package var now: Int64? { hub.now }

  /// The state when the leases were last read.
  package func state(_ status: InstanceStatus) -> InstanceStatus.State {
    hub.state(status)
  }

  // MARK: Rows

  /// The instances that pass the filter, in order.
  package mutating func rows() -> [InstanceStatus] {
    if let sorted { return sorted }
    let search = InstanceSearch(filter)
    let wanted = hub.roster.statuses.values.filter {
      isRemembered($0) && search.finds($0, state: state($0))
    }
    let rows = order.indices(of: wanted, isReversed: isReversed, state: state).map { wanted[$0] }
    sorted = rows
    return rows
  }

  /// Whether it is present, or ended a short time ago.
  private func isRemembered(_ status: InstanceStatus) -> Bool {
    guard !status.isPresent, let end = hub.roster.ends[status.instance.id], let now else {
      return true
    }
    return end >= now - Self.remembrance
  }

  /// The rows that are visible, around the selected one.
  package mutating func visible() -> ArraySlice<InstanceStatus> {
    let rows = rows()
    let index = selectedIndex(in: rows)
    if let index {
      top = min(max(top, index - visibleRows + 1), index)
      selection = rows[index].instance.id
    }
    top = max(0, min(top, rows.count - visibleRows))
    return rows.dropFirst(top).prefix(visibleRows)
  }

  private func selectedIndex(in rows: [InstanceStatus]) -> Int? {
    rows.firstIndex { $0.instance.id == selection } ?? (rows.isEmpty ? nil : 0)
  }

  // MARK: Keys

  package mutating func press(_ key: Key) -> Effect? {
    if key == .interrupt { return .quit }
    if key == .suspend { return .suspend }
    switch mode {
    case .table: return pressInTable(key)
    case .typingFilter: typeFilter(key)
    case .details: return pressInDetails(key)
    }
    return nil
  }

  private mutating func pressInDetails(_ key: Key) -> Effect? {
    switch key {
    case .character("q"): return .quit
    case .escape, .enter, .backspace: (mode, events, detailsTop) = (.table, [], 0)
    case .up, .character("k"): detailsTop -= 1
    case .down, .character("j"): detailsTop += 1
    case .pageUp: detailsTop -= visibleRows
    case .pageDown: detailsTop += visibleRows
    case .home, .character("g"): detailsTop = 0
    case .end, .character("G"): detailsTop = Int(Int32.max)
    case .character, .interrupt, .suspend: break
    }
    return nil
  }

  /// The lines of the details that are visible.
  package mutating func visible(_ lines: [String], rows: Int) -> [String] {
    detailsTop = max(0, min(detailsTop, lines.count - rows))
    return Array(lines.dropFirst(detailsTop).prefix(rows))
  }

  private mutating func pressInTable(_ key: Key) -> Effect? {
    switch key {
    case .character("q"): return .quit
    case .character("/"): mode = .typingFilter
    case .escape: setFilter("")
    case .up, .character("k"): move(by: -1)
    case .down, .character("j"): move(by: 1)
    case .pageUp: move(by: -visibleRows)
    case .pageDown: move(by: visibleRows)
    case .home, .character("g"): move(by: -Int(Int32.max))
    case .end, .character("G"): move(by: Int(Int32.max))
    case .enter:
      guard let selection, hub.roster.statuses[selection] != nil else { return nil }
      mode = .details(id: selection)
      return .readEvents(id: selection)
    case .character(let character):
      guard let order = Self.orders[character] else { return nil }
      isReversed = order == self.order && !isReversed
      self.order = order
      sorted = nil
    case .backspace, .interrupt, .suspend: break
    }
    return nil
  }

  private mutating func typeFilter(_ key: Key) {
    switch key {
    case .character(let character): setFilter(filter + String(character))
    case .backspace: setFilter(String(filter.dropLast()))
    case .enter, .up, .down: mode = .table
    case .escape:
      setFilter("")
      mode = .table
    case .pageUp, .pageDown, .home, .end, .interrupt, .suspend: break
    }
  }

  private mutating func setFilter(_ text: String) {
    filter = text
    sorted = nil
  }

  private mutating func move(by distance: Int) {
    let rows = rows()
    guard let index = selectedIndex(in: rows) else { return }
    selection = rows[max(0, min(rows.count - 1, index + distance))].instance.id
  }
}
