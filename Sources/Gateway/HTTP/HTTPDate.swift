#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The value of `Date` (RFC 9110, 5.6.7), made once a second.
struct HTTPDate {
  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  private var second: time_t = -1
  private var text = ""

  /// The present time.
  mutating func now() -> String {
    var seconds = time(nil)
    guard seconds != second else { return text }
    second = seconds
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let day = Self.days.at(Int(parts.tm_wday)) ?? ""
    let month = Self.months.at(Int(parts.tm_mon)) ?? ""
    let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map(Self.two).joined(separator: ":")
    text = "\(day), \(Self.two(parts.tm_mday)) \(month) \(Int(parts.tm_year) + 1900) \(time) GMT"
    return text
  }

  private static func two(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
