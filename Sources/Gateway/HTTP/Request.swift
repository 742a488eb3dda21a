import ExpressSessions
import NIOHTTP1

/// A whole request, as the paths see it.
struct Request: Sendable {
  var method: HTTPMethod
  /// Without percent-encoding, query and base path; begins with a slash.
  var path: String
  var query: Query
  var headers: HTTPHeaders
  /// The host that the client asked, without its port; nil where an HTTP/1.0 client named none.
  var host: String?
  var body: [UInt8] = []
  /// The address of the other end of the connection; empty for a Unix socket.
  var peer: String

  /// The same request for another path.
  func at(_ path: String) -> Request {
    var copy = self
    copy.path = path
    return copy
  }

  var isForRead: Bool { method == .GET || method == .HEAD }

  /// The one value of a header; nil where it is missing or there are several.
  func only(_ name: String) -> String? {
    let values = headers[name]
    return values.count == 1 ? values.first : nil
  }

  /// The value of a cookie; the first of that name (RFC 6265, 4.2).
  func cookie(_ name: String) -> String? {
    for header in headers["cookie"] {
      for pair in header.split(separator: ";") {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2, parts[0].trimmingBlanks == name { return parts[1].trimmingBlanks }
      }
    }
    return nil
  }

  /// Whether the client takes a media type (RFC 9110, 12.5.1); one that says nothing takes all.
  func accepts(_ type: String) -> Bool {
    let ranges = headers["accept"].flatMap { $0.split(separator: ",") }
    guard !ranges.isEmpty else { return true }
    let family = type.prefix { $0 != "/" } + "/*"
    var quality: [String: Double] = [:]
    for range in ranges {
      let parts = range.split(separator: ";").map(\.trimmingBlanks)
      guard let name = parts.first?.lowercased() else { continue }
      let weight = parts.dropFirst().first { $0.lowercased().hasPrefix("q=") }
      quality[name] = weight.flatMap { Double($0.dropFirst(2)) } ?? 1
    }
    // The most specific range decides.
    return quality[type] ?? quality[String(family)] ?? quality["*/*"] ?? 0 > 0
  }
}

/// The query of a URL, or a form (`application/x-www-form-urlencoded`).
struct Query: Sendable {
  private(set) var pairs: [(name: String, value: String)] = []

  /// - Returns: nil where an escape is broken or the text is not UTF-8.
  init?(_ text: Substring) {
    for pair in text.split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = parts[0].percentDecoded(isForm: true),
        let value = (parts.count > 1 ? parts[1] : "").percentDecoded(isForm: true)
      else { return nil }
      pairs.append((name, value))
    }
  }

  init() {}

  /// The last value of a name; an empty one counts as none.
  subscript(name: String) -> String? { all(name).last }

  /// All values of a name but empty ones.
  func all(_ name: String) -> [String] {
    pairs.filter { $0.name == name && !$0.value.isEmpty }.map(\.value)
  }

  /// As the end of an address: empty, or with the question mark.
  var encoded: String {
    let texts = pairs.map { "\($0.name.percentEncoded)=\($0.value.percentEncoded)" }
    return texts.isEmpty ? "" : "?" + texts.joined(separator: "&")
  }
}

extension StringProtocol {
  /// Without percent-encoding (RFC 3986, 2.1); nil where an escape is broken, for a NUL, and where the
  /// result is not UTF-8.
  func percentDecoded(isForm: Bool = false) -> String? {
    let bytes = isForm ? utf8.map { $0 == UInt8(ascii: "+") ? UInt8(ascii: " ") : $0 } : Array(utf8)
    return PercentEncoding.decode(String(decoding: bytes, as: UTF8.self)).flatMap {
      $0.utf8.contains(0) ? nil : $0
    }
  }

  /// As a value in a query: all but the unreserved characters (RFC 3986, 2.3) are escaped.
  var percentEncoded: String {
    var text = ""
    for byte in utf8 {
      let scalar = Unicode.Scalar(byte)
      let isUnreserved =
        scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
      if isUnreserved || "-._~".unicodeScalars.contains(scalar) {
        text.unicodeScalars.append(scalar)
      } else {
        text += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
      }
    }
    return text
  }
}
