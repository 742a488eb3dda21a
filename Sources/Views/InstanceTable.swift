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
    let count = Self.header.count
    // Row by row in one array, since an array for each row would take most of the time.
    var cells = Self.header
    cells.reserveCapacity(count * (instances.count + 1))
    for index in instances.indices { addRow(index, to: &cells) }
    var widths = Array(repeating: 0, count: count)
    for (index, cell) in cells.enumerated() {
      widths[index % count] = max(widths[index % count], cell.displayWidth)
    }
    let shown = shownColumns(&widths)
    var lines: [UInt8] = []
    lines.reserveCapacity(
      (instances.count + 1) * (shown.reduce(0) { $0 + widths[$1] + 2 } + 1))
    for start in stride(from: 0, to: cells.count, by: count) {
      addLine(cells[start..<(start + count)], shown, widths, to: &lines)
    }
    lines.add("\(totals)\n")
    return lines
  }

  /// Adds the cells that are shown of a row as a line, each with the width of its column.
  private func addLine(
    _ row: ArraySlice<String>, _ shown: [Int], _ widths: [Int], to lines: inout [UInt8]
  ) {
    let start = lines.count
    for column in shown {
      if column != shown.first { lines.add("  ") }
      let text = row[row.startIndex + column].cut(
        to: widths[column], isUnicode: typography.isUnicode)
      lines.add(text, paddedTo: widths[column])
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

  private func addRow(_ index: Int, to cells: inout [String]) {
    func add(_ text: String?) { cells.append(text.map(Visible.text) ?? "-") }
    let isPresent = instances[index].isPresent
    add(instances[index].instance.name)
    add(instances[index].state.rawValue)
    add(isPresent ? age(instances[index].instance.started) : nil)
    add(instances[index].instance.release)
    add(instances[index].instance.platform)
    add(instances[index].instance.region)
    add(instances[index].instance.host)
    add(instances[index].instance.pid.map(String.init))
    add(age(instances[index].lastBeat))
    add(instances[index].instance.id)
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
