import Views

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// HTML that is put together from what is safe as it is and from texts, which are escaped.
///
/// Built by interpolation: a literal is markup, an interpolated text is escaped, another piece of HTML is not.
struct HTML: Sendable, ExpressibleByStringInterpolation {
  var text: String

  init(stringLiteral value: String) { text = value }
  init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

  static func += (one: inout HTML, other: HTML) { one.text += other.text }

  struct Interpolation: StringInterpolationProtocol {
    var text = ""

    init(literalCapacity: Int, interpolationCount: Int) {
      text.reserveCapacity(literalCapacity + 16 * interpolationCount)
    }

    mutating func appendLiteral(_ literal: String) { text += literal }
    mutating func appendInterpolation(_ html: HTML) { text += html.text }
    mutating func appendInterpolation(_ number: some BinaryInteger) { text += String(number) }
    mutating func appendInterpolation(_ untrusted: String) {
      text += HTML.escaped(Visible.text(untrusted))
    }
  }

  /// As text of an element and as a quoted value of an attribute.
  static func escaped(_ text: String) -> String {
    let isPlain = text.utf8.withContiguousStorageIfAvailable { bytes in
      !bytes.contains { special.contains($0) }
    }
    if isPlain == true { return text }
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }

  private static let special: Set<UInt8> = Set("&<>\"'".utf8)
}

extension Sequence where Element == HTML {
  func joined() -> HTML { reduce(into: "") { $0 += $1 } }
}

/// A moment as a page tells it: in UTC, since the page does not know where its reader is; with JavaScript it
/// becomes the reader's own time.
struct PageTime {
  private let milliseconds: Int64
  private var parts = tm()

  init(_ milliseconds: Int64) {
    self.milliseconds = milliseconds
    var seconds = time_t(milliseconds / 1000)
    gmtime_r(&seconds, &parts)
  }

  private var day: String {
    "\(Int(parts.tm_year) + 1900)-\(Self.two(parts.tm_mon + 1))-\(Self.two(parts.tm_mday))"
  }

  private var time: String {
    [parts.tm_hour, parts.tm_min, parts.tm_sec].map(Self.two).joined(separator: ":")
  }

  /// `<time>`; `data-clock` has the page's script write it in the reader's time zone.
  var html: HTML {
    "<time data-clock=\"\(milliseconds)\" datetime=\"\(day)T\(time)Z\">\(day) \(time)</time>"
  }

  private static func two(_ number: CInt) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

extension HTML {
  /// How long ago a moment was, which the page's script keeps right.
  static func age(_ moment: Int64?, now: Int64) -> HTML {
    guard let moment else { return "–" }
    return
      "<span data-age=\"\(moment)\">\(Span(milliseconds: max(0, now - moment)).description)</span>"
  }
}
