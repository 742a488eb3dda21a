import Terminal

/// The columns of the lines that tell of instances.
///
/// In a pipe they have fixed widths and nothing is cut. On a terminal they grow with what they hold,
/// and where not all of it fits, the place goes first, then a part of the name, then the release.
package struct LineLayout: Sendable {
  /// A time, two spaces, a symbol and a word, two spaces.
  private static let front = 23
  /// What a day before the time takes.
  package static let day = 11
  private static let gap = 2
  /// As many cells as the remarks get before other columns are cut for them.
  private static let remarks = 20
  private static let minName = 10
  private static let (maxName, maxRelease, maxPlace) = (24, 16, 24)

  /// nil where nothing is cut.
  package var columns: Int?
  package var isUnicode = true
  private var (name, release, place) = (14, 8, 12)

  package init(columns: Int?, isUnicode: Bool = true) {
    self.columns = columns
    self.isUnicode = isUnicode
    if columns != nil { (name, release, place) = (Self.minName, 0, 0) }
  }

  /// Widens the columns for what is to come.
  package mutating func makeRoom(name: String, release: String?, place: String?) {
    self.name = max(self.name, min(name.displayWidth, Self.maxName))
    self.release = max(self.release, min(release?.displayWidth ?? 0, Self.maxRelease))
    self.place = max(self.place, min(place?.displayWidth ?? 0, Self.maxPlace))
  }

  /// Adds the columns behind the time and the word of a line.
  ///
  /// - Parameters:
  ///   - release: nil where there is none, as with `place`.
  ///   - remarks: what is to stand at the end.
  /// - Returns: what fits of the remarks.
  package func addColumns(
    name: String, release: String?, place: String?, remarks: String, to line: inout [UInt8]
  ) -> String {
    guard let columns else {
      line.add(name, paddedTo: self.name)
      line.add("  ")
      line.add(release ?? "-", paddedTo: self.release)
      line.add("  ")
      line.add(place ?? "-", paddedTo: self.place)
      return remarks
    }
    let widths = widths(columns)
    let cells = zip([name, release ?? "-", place ?? "-"], widths).filter { $1 > 0 }.map {
      $0.fitted(to: $1, isUnicode: isUnicode)
    }
    let text = cells.joined(separator: "  ")
    line.add(text)
    let room = columns - Self.front - text.displayWidth - Self.gap
    return remarks.cut(to: max(0, room), isUnicode: isUnicode)
  }

  private func widths(_ columns: Int) -> [Int] {
    var widths = [name, release, place]
    func missing() -> Int {
      let taken = widths.reduce(0) { $0 + ($1 > 0 ? $1 + Self.gap : 0) }
      return Self.front + taken + Self.remarks - columns
    }
    if missing() > 0 { widths[2] = 0 }
    if missing() > 0 { widths[0] = max(Self.minName, name - missing()) }
    if missing() > 0 { widths[1] = 0 }
    return widths
  }
}
