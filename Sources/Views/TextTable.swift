import Terminal

/// Columns of text, aligned; on a terminal cut to its width.
struct TextTable {
  private static let minElastic = 8

  private let header: [String]
  private let elastic: Int
  private let expendable: [String]
  private let typography: Typography
  private var widths: [Int]
  private var hasHeader = false

  /// - Parameters:
  ///   - elastic: the column that is cut where all others are needed.
  ///   - expendable: the titles of the columns that are left out where not all fit, the least important first.
  init(header: [String], elastic: Int, expendable: [String], typography: Typography) {
    (self.header, self.elastic, self.expendable) = (header, elastic, expendable)
    self.typography = typography
    widths = header.map(\.displayWidth)
  }

  /// The rows as lines, the first time below the header. Columns only become wider from one call to the next.
  ///
  /// - Parameter cells: of all rows, one after the other.
  mutating func lines(_ cells: [String]) -> [UInt8] {
    let count = header.count
    for (index, cell) in cells.enumerated() {
      widths[index % count] = max(widths[index % count], cell.displayWidth)
    }
    let (shown, widths) = shownColumns()
    var lines: [UInt8] = []
    lines.reserveCapacity(
      (cells.count / count + 1) * (shown.reduce(0) { $0 + widths[$1] + 2 } + 1))
    if !hasHeader { addLine(header[...], shown, widths, to: &lines) }
    hasHeader = true
    for start in stride(from: 0, to: cells.count - count + 1, by: count) {
      addLine(cells[start..<(start + count)], shown, widths, to: &lines)
    }
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

  /// All columns; on a terminal where they do not fit, only the most important ones. The elastic one is cut last.
  private func shownColumns() -> (shown: [Int], widths: [Int]) {
    var shown = Array(widths.indices)
    var widths = widths
    guard let columns = typography.columns else { return (shown, widths) }
    func surplus() -> Int { shown.reduce(0) { $0 + widths[$1] + 2 } - 2 - columns }
    widths[elastic] = min(widths[elastic], max(Self.minElastic, columns / 3))
    for title in expendable where surplus() > 0 {
      shown.removeAll { header[$0] == title }
    }
    if surplus() > 0 { widths[elastic] = max(Self.minElastic, widths[elastic] - surplus()) }
    return (shown, widths)
  }
}
