import Presence
import Terminal

/// The rows that `top` shows on a terminal.
package struct TopRendering: Sendable {
  private struct Column {
    var title: String
    /// The order by this column; nil where there is none.
    var order: InstanceOrder?
    var width: Int
    var text: (InstanceStatus) -> String?
    var rendition: (InstanceStatus) -> String? = { _ in nil }
  }

  private static let gap = 2
  /// The width of the mark of the selected row.
  private static let gutter = 2
  private static let minName = 12
  private static let tableHelp = [
    ("q", "quit"), ("enter", "details"), ("/", "filter"), ("n u b m c r s", "sort"),
    ("↑ ↓", "move"),
  ]
  private static let detailsHelp = [("esc", "back"), ("↑ ↓", "scroll"), ("q", "quit")]

  package let typography: Typography
  package let size: TerminalSize

  package init(typography: Typography, size: TerminalSize) {
    self.typography = typography
    self.size = size
  }

  /// The rows to draw, at most as many as the terminal has.
  package func rows(_ model: inout TopModel) -> [String] {
    model.visibleRows = max(1, size.rows - 3)
    let name = model.hub.app.map { "\($0): " } ?? ""
    let summary = WatchStatus(model.hub).summary(
      columns: size.columns - name.displayWidth, typography)
    let title = typography.paint(name + summary, "1")
    if case .details(let id) = model.mode, let instance = model.hub.roster.statuses[id] {
      let room = max(0, size.rows - 3)
      let lines = model.visible(details(instance, model), rows: room)
      let padding = Array(repeating: "", count: room - lines.count)
      return [title, ""] + lines + padding + [help(Self.detailsHelp)]
    }
    let columns = columns(model)
    let table = model.visible().map { row($0, columns, model) }
    let padding = Array(repeating: "", count: max(0, model.visibleRows - table.count))
    return [title, header(columns, model)] + table + padding + [bottom(model)]
  }

  // MARK: Table

  private func columns(_ model: TopModel) -> [Column] {
    func age(_ moment: Int64?) -> String? {
      guard let moment, let now = model.now else { return nil }
      return Span(milliseconds: max(0, now - moment)).description
    }
    var rest = [
      Column(title: "STATE", order: .state, width: 10) {
        "\(model.state($0).symbol) \(model.state($0).rawValue)"
      } rendition: {
        model.state($0).rendition
      },
      Column(title: "UP", order: .up, width: 8) { age($0.instance.started) },
      Column(title: "BEAT", order: .beat, width: 6) {
        guard $0.isPresent, let beat = $0.lastBeat, let now = model.now else { return nil }
        return Span(milliseconds: max(0, now - beat)).coarse
      },
    ]
    if model.hub.roster.statuses.values.contains(where: { $0.usage != nil }) {
      rest += [
        Column(title: "MEM", order: .memory, width: 9, text: \.memoryText),
        Column(title: "CPU", order: .cpu, width: 5, text: \.processorText),
      ]
    }
    rest += [
      Column(title: "RELEASE", order: .release, width: 10, text: \.instance.release),
      Column(title: "PLACE", width: 12, text: \.instance.place),
      Column(title: "HOST", width: 16, text: \.instance.host),
      Column(title: "PID", width: 8) { $0.instance.pid.map(String.init) },
      Column(title: "ID", width: 26, text: \.instance.id),
    ]
    let room = size.columns - Self.gutter
    func width() -> Int { rest.reduce(0) { $0 + $1.width + Self.gap } }
    while rest.count > 1, width() + Self.minName > room { rest.removeLast() }
    let name = Column(
      title: "NAME", order: .name, width: min(40, room - width()), text: \.instance.name)
    return [name] + rest
  }

  private func header(_ columns: [Column], _ model: TopModel) -> String {
    let arrow = typography.isUnicode ? (model.isReversed ? "▲" : "▼") : model.isReversed ? "^" : "v"
    let cells = columns.map { column in
      let isOrder = column.order == model.order
      return (isOrder ? "\(column.title) \(arrow)" : column.title).fitted(to: column.width)
    }
    let text = String(repeating: " ", count: Self.gutter) + cells.joined(separator: "  ")
    return typography.paint(text.fitted(to: size.columns), "7")
  }

  private func row(_ status: InstanceStatus, _ columns: [Column], _ model: TopModel) -> String {
    let cells = columns.map { column in
      let text = Visible.text(column.text(status) ?? "-")
        .fitted(to: column.width, isUnicode: typography.isUnicode)
      return column.rendition(status).map { typography.paint(text, $0) } ?? text
    }
    let isSelected = status.instance.id == model.selection
    let mark = isSelected ? typography.paint(typography.isUnicode ? "▸ " : "> ", "1") : "  "
    return (mark + cells.joined(separator: "  ")).trimmingEnd()
  }

  // MARK: Details

  private func details(_ status: InstanceStatus, _ model: TopModel) -> [String] {
    let instance = status.instance
    func moment(_ time: Int64?) -> String? {
      time.map { LocalTime(milliseconds: $0).dayAndTime }
    }
    let members: [(String, String?)] = [
      ("name", instance.name), ("id", instance.id), ("state", model.state(status).rawValue),
      ("process", instance.process), ("release", instance.release), ("commit", instance.commit),
      ("platform", instance.platform), ("region", instance.region), ("host", instance.host),
      ("pid", instance.pid.map(String.init)), ("started", moment(instance.started)),
      ("last beat", moment(status.isPresent ? status.lastBeat : nil)),
      ("lease", Span(milliseconds: instance.lease).description),
      ("memory", UsageText.memory(status.usage?.memory, of: status.usage?.limit)),
      ("cpu", status.processorText), ("processes", status.usage?.processes.map(String.init)),
      ("oom kills", status.usage?.oomKills.flatMap { $0 > 0 ? "\($0)" : nil }),
    ]
    let meta = instance.meta.sorted { $0.key < $1.key }.map {
      ("meta \($0.key)", Optional($0.value))
    }
    let lines = inColumns(
      (members + meta).compactMap { name, value in
        value.map { "\(Visible.text(name).fitted(to: 10))  \(Visible.text($0))" }
      })
    var narrow = typography
    narrow.columns = size.columns - LineLayout.day
    var rendering = WatchRendering(
      isJSON: false, typography: narrow, tellsDays: .everywhere, now: 0)
    let events = rendering.lines(model.events.map { .event($0, .live) })
    let eventLines = String(decoding: events, as: UTF8.self).split(separator: "\n").map(String.init)
    return lines + [""] + eventLines
  }

  /// Puts lines side by side where there is room for two.
  private func inColumns(_ lines: [String]) -> [String] {
    let isUnicode = typography.isUnicode
    guard size.columns >= 76 else {
      return lines.map { $0.cut(to: size.columns, isUnicode: isUnicode) }
    }
    let half = (lines.count + 1) / 2
    let width = size.columns / 2 - Self.gap
    return (0..<half).map { number in
      let right = number + half < lines.count ? lines[number + half] : ""
      let left = lines[number].fitted(to: width, isUnicode: isUnicode)
      return "\(left)  \(right.cut(to: width, isUnicode: isUnicode))".trimmingEnd()
    }
  }

  // MARK: Bottom

  private func bottom(_ model: TopModel) -> String {
    let filter = "filter: \(Visible.text(model.filter))"
    if model.mode == .typingFilter {
      let text = "\(filter)\(typography.isUnicode ? "▏" : "_")  (enter keeps it, esc clears it)"
      return text.cut(to: size.columns, isUnicode: typography.isUnicode)
    }
    return help((model.filter.isEmpty ? [] : [("esc", "clear \(filter)")]) + Self.tableHelp)
  }

  private func help(_ keys: [(key: String, meaning: String)]) -> String {
    let parts = keys.map { key, meaning in
      "\(typography.isUnicode ? key : key.replacing("↑ ↓", with: "arrows")) \(meaning)"
    }
    let text = parts.joined(separator: typography.isUnicode ? " · " : ", ")
    return typography.paint(text.cut(to: size.columns, isUnicode: typography.isUnicode), "2")
  }
}
