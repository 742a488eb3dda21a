import Presence
import Terminal

/// A plot of how many instances were up, and below it a lane for each, over the same time.
package struct LifeChart {
  private static let minPlot = 5
  private static let maxRows = 8
  private static let maxLabel = 24

  private let lives: [Lives.Life]
  private let typography: Typography
  /// The time that is drawn, in ms: from the first moment to before the last.
  private let window: Range<Int64>
  /// How many cells the plot and the lanes are wide.
  private let width: Int
  private let labelWidth: Int

  /// - Parameters:
  ///   - earliest: the first moment asked for, in ms; 0 for the first event.
  ///   - now: the last moment, in ms.
  package init(lives: Lives, earliest: Int64, now: Int64, typography: Typography) {
    self.lives = lives.sorted
    self.typography = typography
    let start =
      earliest > 0 ? earliest : lives.beginning ?? self.lives.first?.instance.started ?? now
    window = min(start, now - 1000)..<now
    let widest = self.lives.map { Self.label($0.instance).displayWidth }.max() ?? 0
    let columns = typography.columns ?? 80
    labelWidth = min(max(widest, 6), Self.maxLabel, max(6, columns / 3))
    width = max(Self.minPlot, columns - labelWidth - 3)
  }

  private static func label(_ instance: Instance) -> String {
    [instance.name, instance.release].compactMap { $0.map(Visible.text) }.joined(separator: " ")
  }

  /// Whole lines.
  package var text: String {
    guard !lives.isEmpty else { return "no instances\n" }
    let lanes = lives.map { Lane($0, window: window, width: width) }
    let rows = plot + axis + lanes.map(line) + [""] + legend
    return rows.map { $0.trimmingEnd() + "\n" }.joined()
  }

  // MARK: Plot

  private var plot: [String] {
    let counts = UpCounts(lives, window: window, width: width)
    let most = max(1, counts.most)
    let rows = min(Self.maxRows, most)
    return (0..<rows).reversed().map { row in
      // The count that the row reaches up to.
      let value = (most * (row + 1) + rows - 1) / rows
      let isLabelled = rows <= 4 || row == rows - 1 || row == rows / 2
      let label = isLabelled ? "\(value)" : ""
      let cells = counts.cells.map { cell(low: $0.low, high: $0.high, row, rows, most) }
      return front(label, typography.isUnicode ? "┤" : "|") + cells.joined()
    }
  }

  /// One cell of the plot. It is filled up to the number of instances that were up during all of
  /// its time, and shaded up to the number that were up at some moment of it.
  private func cell(low: Int, high: Int, _ row: Int, _ rows: Int, _ most: Int) -> String {
    func eighths(_ count: Int) -> Int { min(8, max(0, count * rows * 8 / most - row * 8)) }
    if eighths(low) > 0 {
      guard typography.isUnicode else {
        return eighths(low) >= 4 ? paint("#", .up) : paint(".", .up)
      }
      return paint(["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"][eighths(low) - 1], .up)
    }
    guard eighths(high) > 0 else { return " " }
    return typography.isUnicode ? "░" : ":"
  }

  private func front(_ label: String, _ border: String) -> String {
    let missing = String(repeating: " ", count: max(0, labelWidth - label.displayWidth))
    return "\(missing)\(label) \(border)"
  }

  // MARK: Time

  private var axis: [String] {
    let line = String(repeating: typography.isUnicode ? "─" : "-", count: width)
    let indent = String(repeating: " ", count: labelWidth + 2)
    return [front("0", typography.isUnicode ? "┼" : "+") + line, indent + times]
  }

  /// The times at the beginning and the end, and in the middle where there is room.
  private var times: String {
    let middle = (window.lowerBound + window.upperBound) / 2
    let (first, half, last) = (time(window.lowerBound), time(middle), time(window.upperBound))
    let room = width - first.count - last.count
    guard room >= 2 else { return first }
    guard room >= half.count + 4 else {
      return first + String(repeating: " ", count: room) + last
    }
    let gap = (room - half.count) / 2
    let otherGap = room - half.count - gap
    return first + String(repeating: " ", count: gap) + half
      + String(repeating: " ", count: otherGap) + last
  }

  private func time(_ moment: Int64) -> String {
    let time = LocalTime(milliseconds: moment)
    let isVeryLong = window.upperBound - window.lowerBound > 300 * 24 * 3_600_000
    let isLong = window.upperBound - window.lowerBound > 24 * 3_600_000
    let isShort = window.upperBound - window.lowerBound < 10 * 60_000
    if isVeryLong { return time.day }
    return isLong ? "\(time.day.dropFirst(5)) \(time.minute)" : isShort ? time.time : time.minute
  }

  // MARK: Lanes

  private func line(_ lane: Lane) -> String {
    let label = Self.label(lane.instance).cut(to: labelWidth, isUnicode: typography.isUnicode)
    let cells = lane.cells.map { cell -> String in
      switch cell {
      case .nothing: " "
      case .state(let state): paint(sign(state), state)
      case .change(let type): typography.paint(String(type.symbol), type.rendition)
      }
    }
    return front(label, typography.isUnicode ? "│" : "|") + cells.joined()
  }

  private func sign(_ state: InstanceStatus.State) -> String {
    switch state {
    case .up, .overdue: typography.isUnicode ? "━" : "="
    case .stopping: typography.isUnicode ? "╍" : "~"
    case .lost, .stopped: typography.isUnicode ? "·" : "."
    }
  }

  private func paint(_ text: String, _ state: InstanceStatus.State) -> String {
    typography.paint(text, state == .up ? "32" : state == .stopping ? "35" : "2")
  }

  private var legend: [String] {
    let signs = [InstanceStatus.State.up, .stopping, .lost].map { "\(sign($0)) \($0.rawValue)" }
    let marks = EventType.allCases.map { "\($0.symbol) \($0.rawValue)" }
    let line = (signs + [""] + marks).joined(separator: "  ")
    guard let columns = typography.columns, line.displayWidth > columns else { return [line] }
    return [signs, marks].map { $0.joined(separator: "  ") }
  }
}
