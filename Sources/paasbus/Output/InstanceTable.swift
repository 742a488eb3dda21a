import Presence

/// Instances as a table for people, or a JSON object a line for programs.
struct InstanceTable {
  private static let header = [
    "NAME", "STATE", "UP", "RELEASE", "PLATFORM", "REGION", "HOST", "PID", "BEAT", "ID",
  ]

  var instances: [InstanceStatus]
  /// The server's time, in ms.
  var now: Int64
  var typography: Typography

  static func jsonLine(_ status: InstanceStatus) -> [UInt8] {
    var text = JSONText()
    status.addMembers(to: &text)
    text.member("beat", status.lastBeat)
    return text.line
  }

  var text: String {
    guard !instances.isEmpty else { return "nobody is here\n" }
    let rows = [Self.header] + instances.map(row)
    let widths = Self.header.indices.map { column in
      rows.map { $0[column].displayWidth }.max() ?? 0
    }
    let shown = shownColumns(widths)
    let lines = rows.map { row in
      let line = shown.map { row[$0].padded(to: widths[$0]) }.joined(separator: "  ")
      return cut(line.trimmingEnd())
    }
    return (lines + [totals]).joined(separator: "\n") + "\n"
  }

  /// All columns, or on a terminal where they do not fit, those without which the others say little.
  private func shownColumns(_ widths: [Int]) -> [Int] {
    guard let columns = typography.columns else { return Array(widths.indices) }
    var shown = Array(widths.indices)
    for title in ["HOST", "PID", "REGION", "PLATFORM", "BEAT", "RELEASE"] {
      let width = shown.reduce(0) { $0 + widths[$1] + 2 } - 2
      guard width > columns else { break }
      shown.removeAll { Self.header[$0] == title }
    }
    return shown
  }

  private func cut(_ line: String) -> String {
    typography.columns.map { line.cut(to: $0, isUnicode: typography.isUnicode) } ?? line
  }

  private func row(_ status: InstanceStatus) -> [String] {
    let instance = status.instance
    let columns: [String?] = [
      instance.name, status.state.rawValue, age(instance.started), instance.release,
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
