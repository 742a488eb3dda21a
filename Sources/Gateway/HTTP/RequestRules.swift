import NIOHTTP1

/// What the head of a request must be like beyond the grammar, which the parser checks.
///
/// A request that two programs may read differently is refused, since what a proxy in front of us takes for one
/// request must not be two for us (RFC 9112, 11.2).
enum RequestRules {
  /// In bytes: of the head, and of the address in it.
  static let maxHead = 16 * 1024
  static let maxTarget = 8 * 1024
  static let maxHeaders = 2000
  /// In bytes.
  static let maxBody = 64 * 1024

  /// - Returns: the status of the refusal; nil where nothing is wrong.
  static func problem(of head: HTTPRequestHead) -> HTTPResponseStatus? {
    guard head.version.major == 1, head.version.minor <= 1 else { return .httpVersionNotSupported }
    guard head.uri.utf8.count <= maxTarget else { return .uriTooLong }
    guard head.uri.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return .badRequest }
    let size = head.headers.reduce(head.uri.utf8.count) {
      $0 + $1.name.utf8.count + $1.value.utf8.count + 4
    }
    guard size <= maxHead else { return .requestHeaderFieldsTooLarge }
    let hosts = head.headers["host"]
    guard hosts.count == 1 || hosts.isEmpty && head.version.minor == 0 else { return .badRequest }
    guard hosts.allSatisfy({ hostName($0) != nil }) else { return .badRequest }
    let encodings = head.headers["transfer-encoding"]
    if !encodings.isEmpty {
      let isPlainChunked = encodings.count == 1 && encodings[0].lowercased() == "chunked"
      guard isPlainChunked, head.version.minor == 1, !head.headers.contains(name: "content-length")
      else { return isPlainChunked ? .badRequest : .notImplemented }
    }
    let lengths = head.headers["content-length"]
    guard lengths.count <= 1 else { return .badRequest }
    if let length = lengths.first {
      guard !length.isEmpty, length.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
        return .badRequest
      }
      guard let count = Int(length), count <= maxBody else { return .payloadTooLarge }
    }
    if head.headers.contains(name: "expect"),
      head.headers["expect"].map({ $0.lowercased() }) != ["100-continue"]
    {
      return .expectationFailed
    }
    return nil
  }

  /// The name of `NAME:PORT` or `[ADDRESS]:PORT`, in lower case; nil for what is none.
  static func hostName(_ host: String) -> String? {
    var name = host[...]
    if name.first == "[" {
      guard let end = name.firstIndex(of: "]") else { return nil }
      let port = name[name.index(after: end)...]
      guard port.isEmpty || isPort(port) else { return nil }
      name = name[...end]
    } else if let colon = name.firstIndex(of: ":") {
      guard isPort(name[colon...]) else { return nil }
      name = name[..<colon]
    }
    let isNamely = name.unicodeScalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0))
        || "-._[]:%~".unicodeScalars.contains($0)
    }
    return isNamely && !name.isEmpty ? name.lowercased() : nil
  }

  private static func isPort(_ text: Substring) -> Bool {
    text.first == ":" && text.dropFirst().allSatisfy { ("0"..."9").contains($0) }
      && text.count <= 6
  }

  /// Takes the address of a request apart: an absolute one (RFC 9112, 3.2.2) names the host itself.
  ///
  /// - Returns: nil for another form, and where an escape is broken.
  static func target(of uri: String) -> (host: String?, path: String, query: Query)? {
    var rest = uri[...]
    var host: String?
    if !rest.hasPrefix("/") {
      let lowercased = rest.prefix(8).lowercased()
      guard let scheme = ["http://", "https://"].first(where: { lowercased.hasPrefix($0) }) else {
        return nil
      }
      rest = rest.dropFirst(scheme.count)
      let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
      guard let name = hostName(String(rest[..<end])) else { return nil }
      host = name
      rest = rest[end...]
    }
    let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let raw = parts.first ?? ""
    guard let path = raw.percentDecoded(), let query = Query(parts.count > 1 ? parts[1] : "")
    else { return nil }
    return (host, path.isEmpty ? "/" : path, query)
  }
}
