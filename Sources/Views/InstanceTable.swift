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

  /// Whole lines in UTF-8.
  package var lines: [UInt8] {
    guard !instances.isEmpty else {
      return Array((isFiltered ? "no instances match\n" : "no instances\n").utf8)
    }
    let rows = [Self.header] + instances.map(row)
    var widths = Self.header.indices.map { column in
      rows.map { $0[column].displayWidth }.max() ?? 0
    }
    let shown = shownColumns(&widths)
    var lines: [UInt8] = []
    lines.reserveCapacity(rows.count * (shown.reduce(0) { $0 + widths[$1] + 2 } + 1))
    for row in rows { add(shown.map { (row[$0], widths[$0]) }, to: &lines) }
    lines.add("\(totals)\n")
    return lines
  }

  /// Adds a row's cells as a line, each with the width of its column.
  private func add(_ cells: [(text: String, width: Int)], to lines: inout [UInt8]) {
    let start = lines.count
    for (index, cell) in cells.enumerated() {
      if index > 0 { lines.add("  ") }
      lines.add(
        cell.text.cut(to: cell.width, isUnicode: typography.isUnicode), paddedTo: cell.width)
    }
    while lines.count > start, lines.last == UInt8(ascii: " ") { lines.removeLast() }
    if let columns = typography.columns {
      let line = String(decoding: lines[start...], as: UTF8.self)
      lines.removeSubrange(start...)
      lines.add(line.cut(to: columns, isUnicode: typography.isUnicode))
    }
    lines.append(UInt8(ascii: "\n"))
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
    // By index, since a loop over the elements would copy each.
    var counts: [InstanceStatus.State: Int] = [:]
    for index in instances.indices { counts[instances[index].state, default: 0] += 1 }
    return InstanceStatus.State.allCases.compactMap { state in
      counts[state].map { "\($0) \(state.rawValue)" }
    }.joined(separator: ", ")
  }
}
