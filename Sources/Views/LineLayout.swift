import Terminal

/// The columns of the lines that show instances.
///
/// In a pipe they have fixed widths and nothing is cut. On a terminal their widths depend only on
/// its width, so that no column moves while a user watches. Where not all columns fit, first the
/// place is left out, then the release, then a part of the name; the reason and the exit status
/// stay.
package struct LineLayout: Sendable {
  /// A time, two spaces, a symbol and a word, two spaces.
  private static let front = 23
  /// The width of a day before the time.
  static let day = 11
  private static let gap = 2
  /// The width of a reason with an exit status (`SIGTERM exit 143`), and a little more.
  private static let remarks = 17
  private static let inPipe = Widths(name: 14, release: 8, place: 12)
  private static let usual = Widths(name: 14, release: 6, place: 10)
  private static let minName = 10

  private struct Widths {
    var name, release, place: Int
  }

  /// nil where nothing is cut.
  package var columns: Int?
  package var isUnicode = true

  package init(columns: Int?, isUnicode: Bool = true) {
    self.columns = columns
    self.isUnicode = isUnicode
  }

  /// Adds the columns after the time and the word of a line.
  ///
  /// - Parameters:
  ///   - release: nil where there is none; the same holds for `place`.
  ///   - remarks: possible texts for the end of the line, the longest first.
  /// - Returns: the first of the remarks that fits, otherwise a part of the last.
  package func addColumns(
    name: String, release: String?, place: String?, remarks: [String], to line: inout [UInt8]
  ) -> String {
    guard let columns else {
      line.add(name, paddedTo: Self.inPipe.name)
      line.add("  ")
      line.add(release ?? "-", paddedTo: Self.inPipe.release)
      line.add("  ")
      line.add(place ?? "-", paddedTo: Self.inPipe.place)
      return remarks.first ?? ""
    }
    let widths = Self.widths(columns)
    let cells = zip(
      [name, release ?? "-", place ?? "-"], [widths.name, widths.release, widths.place]
    ).filter { $1 > 0 }.map { $0.fitted(to: $1, isUnicode: isUnicode) }
    let text = cells.joined(separator: "  ")
    line.add(text)
    let room = max(0, columns - Self.front - text.displayWidth - Self.gap)
    return remarks.first { $0.displayWidth <= room }
      ?? (remarks.last ?? "").cut(to: room, isUnicode: isUnicode)
  }

  /// How the columns divide the space that the front and the remarks leave.
  private static func widths(_ columns: Int) -> Widths {
    let room = columns - front - gap - remarks
    let all = usual.name + usual.release + usual.place + 2 * gap
    if room >= all {
      // Additional space goes to all columns, up to the length of the longest usual texts.
      let more = room - all
      return Widths(
        name: usual.name + min(10, more / 3), release: usual.release + min(4, more / 8),
        place: usual.place + min(8, more / 6))
    }
    guard room >= minName + gap + usual.release else {
      return Widths(name: max(minName, room), release: 0, place: 0)
    }
    return Widths(name: min(24, room - gap - usual.release), release: usual.release, place: 0)
  }
}
