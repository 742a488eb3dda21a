import Presence
import Terminal

/// Instances as a table for people, or as one JSON object per line for programs.
package struct InstanceTable {
  private static let header = [
    "NAME", "STATE", "UP", "RELEASE", "PLATFORM", "REGION", "HOST", "PID", "BEAT",
  ]
  /// On a terminal that is wide enough, where instances tell it.
  private static let usage = ["MEM", "CPU"]

  private static let expendable = [
    "CPU", "HOST", "PID", "REGION", "MEM", "PLATFORM", "BEAT", "RELEASE", "UP",
  ]

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
    let showsUsage = showsUsage
    let header = Self.header + (showsUsage ? Self.usage : []) + ["ID"]
    var table = TextTable(
      header: header, elastic: 0, expendable: Self.expendable, typography: typography)
    // Row by row in one array, since an array for each row would take most of the time.
    var cells: [String] = []
    cells.reserveCapacity(header.count * instances.count)
    for index in instances.indices { addRow(index, showsUsage, to: &cells) }
    var lines = table.lines(cells)
    lines.add("\(totals)\n")
    return lines
  }

  /// Programs that read columns find those that there have always been.
  private var showsUsage: Bool {
    typography.columns != nil && instances.indices.contains { instances[$0].usage != nil }
  }

  private func addRow(_ index: Int, _ showsUsage: Bool, to cells: inout [String]) {
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
    if showsUsage {
      add(instances[index].memoryText)
      add(instances[index].processorText)
    }
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
