import Presence

/// What an instance uses, as a person reads it.
package enum UsageText {
  private static let units = ["B", "K", "M", "G", "T"]

  /// Bytes in powers of 1,024, with three digits at most: `63M`, `1.5G`.
  package static func bytes(_ count: Int64) -> String {
    var (value, unit) = (Double(max(0, count)), 0)
    while value >= 999.5, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
    guard unit > 0, value < 9.95 else { return "\(Int64(value.rounded()))\(units[unit])" }
    let tenths = Int64((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)\(units[unit])"
  }

  /// `63M of 64M`, or what is known of it.
  package static func memory(_ used: Int64?, of limit: Int64?) -> String? {
    guard let used else { return nil }
    return limit.map { "\(bytes(used)) of \(bytes($0))" } ?? bytes(used)
  }

  /// Of one processor: `25%`.
  package static func processor(_ share: Double) -> String {
    "\(Int64((max(0, min(share, 1_000_000)) * 100).rounded()))%"
  }
}

extension InstanceStatus {
  /// `63M/64M`
  package var memoryText: String? {
    guard let used = usage?.memory else { return nil }
    return usage?.limit.map { "\(UsageText.bytes(used))/\(UsageText.bytes($0))" }
      ?? UsageText.bytes(used)
  }

  /// `25%`
  package var processorText: String? { usage?.cpu.map(UsageText.processor) }

  /// How near it is to its limit, or to that of its machine, so that those come first that may run out.
  var memoryRank: Double {
    guard let usage, let used = usage.memory else { return 0 }
    guard let limit = usage.limit, limit > 0 else { return Double(used) / Double(1 << 60) }
    return 1 + Double(used) / Double(limit)
  }
}
