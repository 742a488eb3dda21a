extension Duration {
  /// The longest that makes sense, in seconds; keeps arithmetic far from overflowing.
  private static let longestTyped = 10 * 365 * 24 * 3600.0
  private static let units = ["ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400]

  /// Reads a duration as it is typed: `500ms`, `15s`, `2m`, `1h`, `3d`; nil for anything else.
  package init?(typed text: String) {
    let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard !number.isEmpty, let value = Double(number),
      let seconds = Self.units[String(text.dropFirst(number.count))]
    else { return nil }
    let total = value * seconds
    guard total.isFinite, (0...Self.longestTyped).contains(total) else { return nil }
    self = .milliseconds(Int64((total * 1000).rounded()))
  }
}
