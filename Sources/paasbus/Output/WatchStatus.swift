import Presence

/// What the status line of a watch tells.
struct WatchStatus: Sendable {
  enum Connection: String, Sendable {
    case connecting, connected
    case waiting = "waiting for the first instance"
    case lost = "connection lost, trying again"

    var isTrouble: Bool { self == .lost }
  }

  /// How the command that is run for each event fares.
  struct Handling: Sendable, Hashable {
    /// Events that it has not been run for yet.
    var behind: Int64 = 0
    var failures = 0
  }

  /// So many releases are told apart.
  private static let mostReleases = 4
  private static let longestRelease = 16

  var connection = Connection.connecting
  var handling: Handling?
  private var roster: Roster
  /// The server's time in ms, and when it was that.
  private var clock: (time: Int64, at: ContinuousClock.Instant)?
  /// When the last event happened, in ms by the server's clock.
  private var lastEvent: Int64?

  init(_ roster: Roster = Roster()) {
    self.roster = roster
  }

  mutating func take(_ output: WatchOutput) {
    roster.apply(output)
    switch output {
    case .whole(let snapshot): clock = (snapshot.now, .now)
    case .event(let event, let source):
      if source == .live || clock == nil { clock = (max(event.at, serverTime ?? 0), .now) }
      lastEvent = event.at
    case .snapshot, .foreign, .message, .gap, .reset, .retracted: break
    }
  }

  private var serverTime: Int64? {
    clock.map { $0.time + (ContinuousClock.now - $0.at).milliseconds }
  }

  /// A line of just so many cells.
  func line(columns: Int, _ typography: Typography) -> String {
    let text = " \(summary(columns: columns - 1, typography))"
    return typography.hasColor
      ? typography.paint(text.fitted(to: columns, isUnicode: typography.isUnicode), "7") : text
  }

  /// As much of it as fits.
  func summary(columns: Int, _ typography: Typography) -> String {
    let separator = typography.isUnicode ? " · " : " | "
    // Before that, nothing is known.
    guard connection != .connecting else { return connection.rawValue.cut(to: columns) }
    let present = roster.statuses.values.filter(\.isPresent)
    let trouble = connection.isTrouble ? connection.rawValue : nil
    let isFine = connection.isTrouble ? nil : connection.rawValue
    // What is told first stays longest where there is little room.
    let parts = [
      trouble, counts(present), rollOut(present, typography), handlingText, isFine, age,
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
    return texts.isEmpty ? "nobody is here" : texts.joined(separator: ", ")
  }

  /// How many run each release, the oldest first, while there is more than one.
  private func rollOut(_ present: [InstanceStatus], _ typography: Typography) -> String? {
    var releases: [String: (count: Int, first: Int64)] = [:]
    for status in present {
      let started = status.instance.started ?? 0
      let known = releases[status.instance.release ?? "?"] ?? (0, started)
      releases[status.instance.release ?? "?"] = (known.count + 1, min(known.first, started))
    }
    guard releases.count > 1 else { return nil }
    let texts = releases.sorted { ($0.value.first, $0.key) < ($1.value.first, $1.key) }
      .suffix(Self.mostReleases).map { release, known in
        let name = Visible.text(release)
        return
          "\(name.cut(to: Self.longestRelease, isUnicode: typography.isUnicode)) \(known.count)"
      }
    return texts.joined(separator: typography.isUnicode ? " → " : " -> ")
  }

  private var handlingText: String? {
    guard let handling, handling.behind > 0 || handling.failures > 0 else { return nil }
    let behind = handling.behind > 0 ? "handler \(handling.behind) behind" : nil
    let failures = handling.failures > 0 ? "handler failed \(handling.failures)×" : nil
    return [behind, failures].compactMap(\.self).joined(separator: ", ")
  }

  private var age: String? {
    guard let lastEvent, let now = serverTime else { return nil }
    return "last event \(Span(milliseconds: max(0, now - lastEvent)).coarse) ago"
  }
}
