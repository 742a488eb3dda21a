import Views

/// What of the fleet a page shows, as its address says; so a link shows another person the same.
struct PanelQuery: Sendable, Hashable {
  /// How far back the lives go.
  enum Range: String, Sendable, CaseIterable {
    case hour = "1h"
    case sixHours = "6h"
    case day = "24h"

    /// In ms.
    var length: Int64 {
      switch self {
      case .hour: 3_600_000
      case .sixHours: 6 * 3_600_000
      case .day: 24 * 3_600_000
      }
    }
  }

  var filter = ""
  var order = InstanceOrder.state
  var isReversed = false
  var range = Range.hour
  /// How many instances should be up; nil for no goal.
  var goal: Int?
  /// Of which release; empty for any.
  var release = ""
  /// Since when the goal is looked at, in ms.
  var goalSince: Int64?

  static let maxText = 100

  init(_ query: Query) {
    filter = String((query["q"] ?? "").prefix(Self.maxText))
    order = query["sort"].flatMap(InstanceOrder.init) ?? .state
    isReversed = query["dir"] == "desc"
    range = query["range"].flatMap(Range.init) ?? .hour
    goal = query["goal"].flatMap { Int($0) }.flatMap { (1...1_000_000).contains($0) ? $0 : nil }
    release = String((query["release"] ?? "").prefix(Self.maxText))
    goalSince = query["from"].flatMap { Int64($0) }
      .flatMap { (0...9_000_000_000_000).contains($0) ? $0 : nil }
  }

  private var pairs: [(name: String, value: String)] {
    var pairs: [(String, String)] = []
    if !filter.isEmpty { pairs.append(("q", filter)) }
    if order != .state { pairs.append(("sort", order.rawValue)) }
    if isReversed { pairs.append(("dir", "desc")) }
    if range != .hour { pairs.append(("range", range.rawValue)) }
    if let goal { pairs.append(("goal", "\(goal)")) }
    if !release.isEmpty { pairs.append(("release", release)) }
    if let goalSince { pairs.append(("from", "\(goalSince)")) }
    return pairs
  }

  /// A relative address that shows this.
  var link: String {
    "./" + (pairs.isEmpty ? "" : "?")
      + pairs.map { "\($0.name)=\($0.value.percentEncoded)" }.joined(separator: "&")
  }

  /// The same with a change.
  func with(_ change: (inout PanelQuery) -> Void) -> PanelQuery {
    var copy = self
    change(&copy)
    return copy
  }

  /// What a form must send along so that the rest of the view stays: all but the names that it has fields for.
  func hiddenFields(but names: Set<String>) -> HTML {
    pairs.filter { !names.contains($0.name) }.map { pair -> HTML in
      "<input type=\"hidden\" name=\"\(pair.name)\" value=\"\(pair.value)\">"
    }.joined()
  }
}
