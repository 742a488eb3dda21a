import Terminal

/// How far something is, in one line: `[██████░░░░]  60 %  1234 sessions`.
package struct ProgressBar {
  private static let width = 24

  package var progress: Double?
  package var text: String

  package init(progress: Double?, text: String) {
    (self.progress, self.text) = (progress, text)
  }

  package func line(_ columns: Int, _ typography: Typography) -> String {
    guard let progress else { return text.cut(to: columns, isUnicode: typography.isUnicode) }
    let part = min(1, max(0, progress))
    let done = Int(part * Double(Self.width))
    let (full, empty) = typography.isUnicode ? ("█", "░") : ("#", ".")
    let bar =
      String(repeating: full, count: done) + String(repeating: empty, count: Self.width - done)
    return "[\(bar)] \(Int(part * 100)) %  \(text)".cut(
      to: columns, isUnicode: typography.isUnicode)
  }
}
