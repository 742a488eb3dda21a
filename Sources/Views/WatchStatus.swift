import Presence
import Terminal

/// What the status line of a watch shows.
package struct WatchStatus: Sendable {
  /// The progress of the command that is run for each event.
  package struct Handling: Sendable, Hashable {
    /// The last event for which the command has been run, or which was skipped.
    package var handled: Position?
    package var failures = 0
    /// Whether another watch runs the command.
    package var standsBy = false

    package init() {}

    /// For how many events the command has not been run yet.
    ///
    /// - Parameter shown: the last event that the watch has shown.
    package func behind(_ shown: Position?) -> Int64 {
      guard let shown else { return 0 }
      // If the bus was created again, none of its new events has been handled yet.
      let done = handled.map { $0.epoch == shown.epoch ? $0.seq : 0 } ?? 0
      return max(0, shown.seq - done)
    }
  }

  /// The most releases that are shown separately.
  private static let maxReleases = 4
  private static let maxRelease = 16

  private let state: HubState
  private let handling: Handling?

  package init(_ state: HubState, handling: Handling? = nil) {
    self.state = state
    self.handling = handling
  }

  /// A line of at most this many cells; with colour, exactly as many.
  package func line(columns: Int, _ typography: Typography) -> String {
    let text = " \(summary(columns: columns - 1, typography))"
    return typography.hasColor
      ? typography.paint(text.fitted(to: columns, isUnicode: typography.isUnicode), "7") : text
  }

  /// As many parts of the status as fit.
  package func summary(columns: Int, _ typography: Typography) -> String {
    let separator = typography.isUnicode ? " · " : " | "
    // While it is connecting, nothing else is known.
    let (connection, isTrouble) = state.connection.words
    if case .connecting = state.connection { return connection.cut(to: columns) }
    let present = state.instances
    // Where there is little room, the first parts are kept.
    let parts = [
      isTrouble ? connection : nil, counts(present), rollOut(present, typography), handlingText,
      isTrouble ? nil : connection, age,
    ]
    var text = ""
    for part in parts.compactMap(\.self) {
      let longer = text.isEmpty ? part : text + separator + part
      if text.isEmpty || longer.displayWidth <= columns { text = longer }
    }
    return text.cut(to: columns, isUnicode: typography.isUnicode)
  }

  private func counts(_ present: [InstanceStatus]) -> String {
    let texts = InstanceStatus.State.allCases.compactMap { state -> String? in
      let count = present.count { $0.state == state }
      return count > 0 ? "\(count) \(state.rawValue)" : nil
    }
    return texts.isEmpty ? "no instances" : texts.joined(separator: ", ")
  }

  /// How many instances run each release, the oldest release first; nil unless there are several.
  private func rollOut(_ present: [InstanceStatus], _ typography: Typography) -> String? {
    var releases: [String: (count: Int, first: Int64)] = [:]
    for status in present {
      let started = status.instance.started ?? 0
      let known = releases[status.instance.release ?? "?"] ?? (0, started)
      releases[status.instance.release ?? "?"] = (known.count + 1, min(known.first, started))
    }
    guard releases.count > 1 else { return nil }
    let texts = releases.sorted { ($0.value.first, $0.key) < ($1.value.first, $1.key) }
      .suffix(Self.maxReleases).map { release, known in
        let name = Visible.text(release)
        return
          "\(name.cut(to: Self.maxRelease, isUnicode: typography.isUnicode)) \(known.count)"
      }
    return texts.joined(separator: typography.isUnicode ? " → " : " -> ")
  }

  private var handlingText: String? {
    guard let handling else { return nil }
    if handling.standsBy { return "handler stands by" }
    let count = handling.behind(state.position)
    guard count > 0 || handling.failures > 0 else { return nil }
    let behind = count > 0 ? "handler \(count) behind" : nil
    let failures = handling.failures > 0 ? "handler failed \(handling.failures)×" : nil
    return [behind, failures].compactMap(\.self).joined(separator: ", ")
  }

  private var age: String? {
    guard let lastEvent = state.lastEvent, let now = state.now else { return nil }
    return "last event \(Span(milliseconds: max(0, now - lastEvent)).coarse) ago"
  }
}

extension HubState.Connection {
  /// What the status line says about the connection, and whether there is a problem with it.
  fileprivate var words: (text: String, isTrouble: Bool) {
    switch self {
    case .connecting: ("connecting", false)
    case .waiting: ("waiting for the first instance", false)
    case .connected: ("connected", false)
    case .lost: ("connection lost, trying again", true)
    }
  }
}
