import Foundation

/// A line of the result.
struct Row {
  var what: String
  var own: Samples
  var peer: (name: String, samples: Samples)?

  /// - Parameter link: how the server was reached, where that matters.
  func markdown(_ link: Link?) -> String {
    let peerCell = peer.map { "\($0.samples.text) (\($0.name))" } ?? "–"
    let ratio = peer.map { Self.ratio(own.median, $0.samples.median) } ?? "–"
    let title = link.map { "\(what) (\($0.name))" } ?? what
    return "| \(title) | \(own.text) | \(peerCell) | \(ratio) | \(own.spread) |"
  }

  private static func ratio(_ one: Double, _ other: Double) -> String {
    other > 0 ? String(format: "%.2f", one / other) : "–"
  }
}

/// What one thing took, each time it was done.
struct Samples {
  var values: [Double] = []
  var unit: String

  init(_ unit: String, _ values: [Double] = []) {
    self.unit = unit
    self.values = values
  }

  mutating func add(_ duration: Duration) { values.append(duration / .milliseconds(1)) }

  /// The value below which a share of all are.
  func percentile(_ share: Double) -> Double {
    let sorted = values.sorted()
    guard let last = sorted.indices.last else { return 0 }
    return sorted[min(last, Int((Double(last) * share).rounded()))]
  }

  var median: Double { percentile(0.5) }
  var text: String { "\(Self.number(median)) \(unit)" }
  var spread: String {
    values.count > 1
      ? "\(Self.number(percentile(0.1))) to \(Self.number(percentile(0.9)))" : "once"
  }

  static func number(_ value: Double) -> String {
    String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value)
  }
}
