import ArgumentParser

/// A duration as it is typed: `500ms`, `15s`, `2m`, `1h`.
struct DurationArgument: ExpressibleByArgument, Sendable {
  /// The longest that makes sense; keeps arithmetic far from overflowing.
  private static let longest = 10 * 365 * 24 * 3600.0

  var duration: Duration

  init(_ duration: Duration) {
    self.duration = duration
  }

  init?(argument: String) {
    let number = argument.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard !number.isEmpty, let value = Double(number),
      let seconds = Self.units[String(argument.dropFirst(number.count))]
    else { return nil }
    let total = value * seconds
    guard total.isFinite, (0...Self.longest).contains(total) else { return nil }
    duration = .milliseconds(Int64((total * 1000).rounded()))
  }

  private static let units = ["ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400]

  var defaultValueDescription: String {
    let milliseconds = duration.components.seconds * 1000
    return milliseconds % 60_000 == 0 && milliseconds > 0
      ? "\(milliseconds / 60_000)m" : "\(milliseconds / 1000)s"
  }
}
