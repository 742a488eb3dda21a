#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A moment of the server's clock in the local time zone.
package struct LocalTime {
  private var parts = tm()

  /// This machine's time, in ms since 1970.
  package static var now: Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1000
  }

  package init(milliseconds: Int64) {
    var seconds = time_t(milliseconds / 1000)
    localtime_r(&seconds, &parts)
  }

  /// `14:03`
  package var minute: String { String(time.prefix(5)) }

  /// `14:03:07`
  package var time: String {
    [parts.tm_hour, parts.tm_min, parts.tm_sec].map(Self.two).joined(separator: ":")
  }

  /// `2026-11-24`
  package var day: String {
    "\(Int(parts.tm_year) + 1900)-\(Self.two(parts.tm_mon + 1))-\(Self.two(parts.tm_mday))"
  }

  /// The day and the time as texts, made once.
  package struct Texts: Sendable {
    package var day: String
    package var time: String
  }

  package var texts: Texts { Texts(day: day, time: time) }

  /// `2026-11-24 14:03:07`
  package var dayAndTime: String { "\(day) \(time)" }

  private static func two(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

/// A length of time in its two largest units: `2h 5m`, `40s`, `3d 1h`.
package struct Span: CustomStringConvertible {
  package var milliseconds: Int64

  package init(milliseconds: Int64) {
    self.milliseconds = milliseconds
  }

  package var description: String {
    let seconds = milliseconds / 1000
    switch seconds {
    case ..<1: return "\(max(0, milliseconds))ms"
    case ..<60: return "\(seconds)s"
    case ..<3600: return "\(seconds / 60)m \(seconds % 60)s"
    case ..<86_400: return "\(seconds / 3600)h \(seconds % 3600 / 60)m"
    default: return "\(seconds / 86_400)d \(seconds % 86_400 / 3600)h"
    }
  }
}

extension Span {
  /// As a user would type it: exact to the millisecond where that matters.
  package var exact: String { milliseconds % 1000 == 0 ? description : "\(milliseconds)ms" }

  /// In its largest unit alone: `2h`, `40s`.
  package var coarse: String {
    milliseconds < 1000 ? "0s" : description.split(separator: " ").first.map(String.init) ?? ""
  }
}

extension String {
  /// The text without its last characters that equal `byte`, a character of one byte.
  package func trimmingEnd(of byte: UInt8 = UInt8(ascii: " ")) -> String {
    guard utf8.last == byte else { return self }
    var text = self
    while text.utf8.last == byte { text.removeLast() }
    return text
  }
}

/// A number with the word for what is counted: `1 event`, `2 events`.
package func count(_ number: some BinaryInteger, _ noun: String) -> String {
  "\(number) \(noun)\(number == 1 ? "" : "s")"
}
