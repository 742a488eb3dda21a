import Foundation

/// A browser's side of a WebSocket, written by itself and not by the code that is tested: it can also do what no
/// browser does.
package final class WebSocketClient: Sendable {
  package struct Frame: Sendable, Equatable {
    package var opcode: UInt8
    package var isFinal: Bool
    package var bytes: [UInt8]

    package var text: String { String(decoding: bytes, as: UTF8.self) }
    /// Of a close.
    package var code: Int? { bytes.count >= 2 ? Int(bytes[0]) << 8 | Int(bytes[1]) : nil }
  }

  private struct State: Sendable {
    var head = ""
    /// What is no whole frame yet.
    var rest: ArraySlice<UInt8> = []
    var frames: [Frame] = []
  }

  private let socket: RawSocket
  private let state = Mutable(State())

  private init(_ socket: RawSocket) { self.socket = socket }

  /// Connects; the handshake may be refused.
  package static func connect(
    _ path: String, port: Int, headers: [String: String] = [:]
  ) async throws -> WebSocketClient {
    let client = WebSocketClient(try await RawSocket.connect(port: port))
    var all = [
      "Host": "localhost:\(port)", "Upgrade": "websocket", "Connection": "Upgrade",
      "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ]
    all.merge(headers) { $1 }
    await client.socket.send(
      "GET \(path) HTTP/1.1\r\n\(all.map { "\($0): \($1)\r\n" }.joined())\r\n")
    try await eventually("the handshake is answered") {
      client.socket.text.contains("\r\n\r\n") || client.socket.isClosed
    }
    let bytes = client.socket.take()
    let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) ?? bytes.count..<bytes.count
    client.state.update { state in
      state.head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
      state.rest = bytes[end.upperBound...]
    }
    return client
  }

  /// The status of the handshake.
  package var status: Int { head.split(separator: " ").at(1).flatMap { Int($0) } ?? 0 }

  package var isClosed: Bool { socket.isClosed }
  package var head: String { state.get().head }

  /// The whole frames that have come.
  package var frames: [Frame] {
    let bytes = socket.take()
    state.update { state in
      state.rest += bytes
      while let frame = Self.frame(&state.rest) { state.frames.append(frame) }
    }
    return state.get().frames
  }

  private static func frame(_ rest: inout ArraySlice<UInt8>) -> Frame? {
    guard rest.count >= 2 else { return nil }
    let (first, second) = (rest[rest.startIndex], rest[rest.startIndex + 1])
    var (length, front) = (Int(second & 0x7F), 2)
    let extra = length == 126 ? 2 : length == 127 ? 8 : 0
    guard rest.count >= front + extra else { return nil }
    if extra > 0 {
      length = rest[(rest.startIndex + 2)...].prefix(extra).reduce(0) { $0 << 8 | Int($1) }
      front += extra
    }
    guard rest.count >= front + length else { return nil }
    defer { rest = rest.dropFirst(front + length) }
    return Frame(
      opcode: first & 0x0F, isFinal: first & 0x80 != 0,
      bytes: Array(rest.dropFirst(front).prefix(length)))
  }

  /// The messages in JSON of one type.
  package func objects(_ type: String) -> [[String: JSONValue]] {
    frames.filter { $0.opcode == 1 }.compactMap {
      try? JSONDecoder().decode([String: JSONValue].self, from: Data($0.bytes))
    }.filter { $0["t"] == .string(type) }
  }

  /// The texts of messages, and of gaps why.
  package var got: [String] {
    frames.filter { $0.opcode == 1 }.compactMap { frame in
      let object = try? JSONDecoder().decode([String: JSONValue].self, from: Data(frame.bytes))
      switch object?["t"] {
      case .string("msg"): return object?["data"]?.text ?? object?["b64"]?.text
      case .string("gap"): return "gap \(object?["why"]?.text ?? "")"
      default: return nil
      }
    }
  }

  /// The code with which the other end closed it.
  package var closeCode: Int? { frames.first { $0.opcode == 8 }?.code }

  /// Sends a frame as it is said.
  package func send(
    _ opcode: UInt8, _ bytes: [UInt8], isFinal: Bool = true, isMasked: Bool = true,
    reserved: UInt8 = 0
  ) async {
    var frame: [UInt8] = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
    let mask: UInt8 = isMasked ? 0x80 : 0
    if bytes.count < 126 {
      frame.append(mask | UInt8(bytes.count))
    } else {
      frame += [mask | 126, UInt8(bytes.count >> 8 & 0xFF), UInt8(bytes.count & 0xFF)]
    }
    let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
    if isMasked {
      frame += key + bytes.enumerated().map { $1 ^ key[$0 % 4] }
    } else {
      frame += bytes
    }
    await socket.send(frame)
  }

  package func stopReading() async { await socket.stopReading() }
  package func startReading() async { await socket.startReading() }
  package func close() async { await socket.close() }

  /// Waits until so many messages and gaps have come, and returns them.
  package func waitFor(_ count: Int) async throws -> [String] {
    do {
      try await eventually("\(count) messages") { self.got.count >= count }
    } catch {
      throw Impatience(description: "\(error): \(got), closed \(closeCode ?? 0)")
    }
    return got
  }

  /// Waits until the other end closes it, and returns the code.
  package func waitForClose(within limit: Duration = .seconds(30)) async throws -> Int {
    try await eventually("it is closed", within: limit) { self.closeCode != nil || self.isClosed }
    return closeCode ?? 0
  }
}
