import Foundation
import PaasbusRedis

/// An answer of HTTP, read by itself and not by the code that is tested.
package struct HTTPAnswer: Sendable {
  package var status: Int
  /// Names in lower case.
  package var headers: [(name: String, value: String)]
  package var body: [UInt8]

  package var text: String { String(decoding: body, as: UTF8.self) }

  package subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

  /// Reads a whole answer; nil while it is not whole.
  ///
  /// - Parameter isHead: whether the answer to a HEAD, which has no body.
  package init?(_ bytes: [UInt8], isHead: Bool = false, isClosed: Bool = true) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let end = text.range(of: "\r\n\r\n") else { return nil }
    let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
    guard let first = lines.first, let code = first.split(separator: " ").at(1),
      let status = Int(code)
    else { return nil }
    self.status = status
    headers = lines.dropFirst().map { line in
      let parts = line.split(separator: ":", maxSplits: 1)
      return (parts[0].lowercased(), parts.at(1)?.trimmingCharacters(in: .whitespaces) ?? "")
    }
    let rest = Array(text[end.upperBound...].utf8)
    body = []
    if isHead || status == 304 || status == 204 { return }
    if self["transfer-encoding"] == "chunked" {
      guard let chunks = Self.chunks(rest[...]) else { return nil }
      body = chunks
    } else if let length = self["content-length"].flatMap({ Int($0) }) {
      guard rest.count >= length else { return nil }
      body = Array(rest.prefix(length))
    } else {
      guard isClosed else { return nil }
      body = rest
    }
  }

  private static func chunks(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
    var (rest, body) = (bytes, [UInt8]())
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      let line = String(decoding: rest[..<end], as: UTF8.self).trimmingCharacters(
        in: .whitespacesAndNewlines)
      guard let size = Int(line, radix: 16), rest.count >= (end - rest.startIndex) + size + 3
      else { return nil }
      if size == 0 { return body }
      body += rest[(end + 1)...].prefix(size)
      rest = rest[(end + 1 + size + 2)...]
    }
    return nil
  }
}

extension HTTPAnswer {
  /// The answer to a request on a connection of its own to this machine.
  package static func to(
    _ path: String, method: String = "GET", _ headers: [String: String] = [:], body: String = "",
    port: Int
  ) async throws -> HTTPAnswer {
    let socket = try await RawSocket.connect(port: port)
    var all = ["Host": "localhost:\(port)", "Connection": "close"]
    all.merge(headers) { $1 }
    if !body.isEmpty { all["Content-Length"] = "\(body.utf8.count)" }
    let head = all.map { "\($0): \($1)\r\n" }.joined()
    await socket.send("\(method) \(path) HTTP/1.1\r\n\(head)\r\n\(body)")
    let answer = Mutable<HTTPAnswer?>(nil)
    do {
      try await eventually("an answer to \(path)") {
        answer.set(
          HTTPAnswer(socket.bytes, isHead: method == "HEAD", isClosed: socket.isClosed))
        return answer.get() != nil
      }
    } catch {
      throw Impatience(description: "\(error): \(socket.text)")
    }
    guard let answer = answer.get() else { throw Impatience(description: "no answer") }
    return answer
  }
}
