import Presence
import Terminal

/// Instances as a table for people, or as one JSON object per line for programs.
package struct InstanceTable {
  private static let header = [
    "NAME", "STATE", "UP", "RELEASE", "PLATFORM", "REGION", "HOST", "PID", "BEAT", "ID",
  ]

  private static let minName = 8

  package var instances: [InstanceStatus]
  /// The server's time, in ms.
  package var now: Int64
  package var typography: Typography
  /// Whether there may be other instances than these.
  package var isFiltered = false

  package init(
    instances: [InstanceStatus], now: Int64, typography: Typography, isFiltered: Bool = false
  ) {
    self.instances = instances
    self.now = now
    self.typography = typography
    self.isFiltered = isFiltered
  }

  /// Adds an instance as a line of JSON: its record, state and last beat.
  package static func addLine(_ status: InstanceStatus, to lines: inout [UInt8]) {
    var text = JSONText()
    status.addMembers(to: &text)
    text.member("beat", status.lastBeat)
    text.addLine(to: &lines)
  }

  package var text: String {
    guard !instances.isEmpty else {
      return isFiltered ? "no instances match\n" : "no instances\n"
    }
    let rows = [Self.header] + instances.map(row)
    var widths = Self.header.indices.map { column in
      rows.map { $0[column].displayWidth }.max() ?? 0
    }
    let shown = shownColumns(&widths)
    let lines = rows.map { row in
      let cells = shown.map { row[$0].fitted(to: widths[$0], isUnicode: typography.isUnicode) }
      return cut(cells.joined(separator: "  ").trimmingEnd())
    }
    return (lines + [totals]).joined(separator: "\n") + "\n"
  }

  /// All columns; on a terminal where they do not fit, only the most important ones. Names are cut
  /// last; the states and the IDs always stay.
  private func shownColumns(_ widths: inout [Int]) -> [Int] {
    var shown = Array(widths.indices)
    guard let columns = typography.columns else { return shown }
    func surplus() -> Int { shown.reduce(0) { $0 + widths[$1] + 2 } - 2 - columns }
    widths[0] = min(widths[0], max(Self.minName, columns / 3))
    for title in ["HOST", "PID", "REGION", "PLATFORM", "BEAT", "RELEASE", "UP"] where surplus() > 0
    {
      shown.removeAll { Self.header[$0] == title }
    }
    if surplus() > 0 { widths[0] = max(Self.minName, widths[0] - surplus()) }
    return shown
  }

  private func cut(_ line: String) -> String {
    typography.columns.map { line.cut(to: $0, isUnicode: typography.isUnicode) } ?? line
  }

  private func row(_ status: InstanceStatus) -> [String] {
    let instance = status.instance
    let columns: [String?] = [
      instance.name, status.state.rawValue, status.isPresent ? age(instance.started) : nil,
      instance.release,
      instance.platform, instance.region, instance.host, instance.pid.map(String.init),
      age(status.lastBeat), instance.id,
    ]
    return columns.map { $0.map(Visible.text) ?? "-" }
  }

  private func age(_ moment: Int64?) -> String? {
    moment.map { Span(milliseconds: max(0, now - $0)).description }
  }

  private var totals: String {
    let states = InstanceStatus.State.allCases.compactMap { state -> String? in
      let count = instances.count { $0.state == state }
      return count > 0 ? "\(count) \(state.rawValue)" : nil
    }
    return states.joined(separator: ", ")
  }
}
