import Foundation
import NIOCore
import NIOPosix

/// A TCP or Unix connection on which a test says exactly what it wants, and sees exactly what comes.
package final class RawSocket: Sendable {
  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: Mutable<State>

    init(_ owner: Mutable<State>) { self.owner = owner }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      owner.update { $0.bytes += bytes.readableBytesView }
    }

    func channelInactive(context: ChannelHandlerContext) { owner.update { $0.isClosed = true } }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      context.close(promise: nil)
    }
  }

  private struct State: Sendable {
    var bytes: [UInt8] = []
    var isClosed = false
  }

  private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  private let channel: any Channel
  private let state: Mutable<State>

  private init(_ channel: any Channel, _ state: Mutable<State>) {
    (self.channel, self.state) = (channel, state)
  }

  deinit { channel.close(promise: nil) }

  package static func connect(port: Int, host: String = "127.0.0.1") async throws -> RawSocket {
    try await connect { try await $0.connect(host: host, port: port).get() }
  }

  package static func connect(path: String) async throws -> RawSocket {
    try await connect { try await $0.connect(unixDomainSocketPath: path).get() }
  }

  private static func connect(
    _ connect: (ClientBootstrap) async throws -> any Channel
  ) async throws -> RawSocket {
    let state = Mutable(State())
    let bootstrap = ClientBootstrap(group: group).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(Collector(state))
      }
    }
    return RawSocket(try await connect(bootstrap), state)
  }

  /// Sends; a connection that the other end has closed is no error.
  package func send(_ bytes: some Sequence<UInt8>) async {
    try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
  }

  package func send(_ text: String) async { await send(text.utf8) }

  /// Reads no more, so that the other end's writes pile up.
  package func stopReading() async { try? await channel.setOption(.autoRead, value: false).get() }

  package var bytes: [UInt8] { state.get().bytes }
  /// How many bytes have come.
  package var count: Int { state.get().bytes.count }
  package var text: String { String(decoding: bytes, as: UTF8.self) }
  package var isClosed: Bool { state.get().isClosed }

  package func close() async { try? await channel.close().get() }

  /// Waits until the other end has closed the connection; returns all that it said.
  package func untilClosed(within limit: Duration = .seconds(30)) async throws -> String {
    try await eventually("the connection is closed", within: limit) { self.isClosed }
    return text
  }
}

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

/// A `paasbus serve` under test.
package final class PanelProcess: Sendable {
  package let process: ManagedProcess
  package let port: Int

  private init(_ process: ManagedProcess, port: Int) {
    (self.process, self.port) = (process, port)
  }

  /// Starts it at a free port of the loopback, and waits until it listens.
  package static func start(
    _ words: String..., on server: RedisServer, environment: [String: String] = [:],
    limits: [String] = []
  ) async throws -> PanelProcess {
    try await start(words, on: server, environment: environment, limits: limits)
  }

  package static func start(
    _ words: [String], on server: RedisServer, environment: [String: String] = [:],
    limits: [String] = []
  ) async throws -> PanelProcess {
    let hasAddress = words.contains("--listen") || environment["PORT"] != nil
    let command = ["serve"] + (hasAddress ? [] : ["--listen", "127.0.0.1:0"]) + words
    let process =
      limits.isEmpty
      ? try Paasbus.start(command, on: server, environment: environment)
      : try ManagedProcess(
        "prlimit", limits + [Paasbus.path] + command,
        environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
    try await eventually("it serves: \(process.errorOutput)") {
      process.errorOutput.contains("serving the panel at ") || !process.isRunning
    }
    let line = process.errorLines.last { $0.contains("serving the panel at ") } ?? ""
    let rest = line.split(separator: "/").at(1)?.split(separator: ":").last ?? ""
    guard let port = Int(rest) else {
      throw Impatience(description: "it does not serve: \(process.errorOutput)")
    }
    return PanelProcess(process, port: port)
  }

  package var url: String { "http://localhost:\(port)/" }

  /// How much of a processor it has used, in hundredths of a second.
  package var processorTicks: Int {
    get throws {
      let text = try String(contentsOfFile: "/proc/\(process.processID)/stat", encoding: .utf8)
      let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
      return [11, 12].reduce(0) { $0 + (fields.at($1).flatMap { Int($0) } ?? 0) }
    }
  }

  /// Asks for a path on a connection of its own.
  package func ask(
    _ path: String, method: String = "GET", _ headers: [String: String] = [:], body: String = ""
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

  /// Opens a stream of events; its text grows.
  package func follow(
    _ query: String = "", _ headers: [String: String] = [:]
  ) async throws -> RawSocket {
    let socket = try await RawSocket.connect(port: port)
    let more = headers.map { "\($0): \($1)\r\n" }.joined()
    await socket.send(
      "GET /api/v1/events\(query) HTTP/1.1\r\nHost: localhost\r\n\(more)\r\n")
    try await eventually("the stream begins: \(socket.text)") {
      socket.text.contains("retry: 1000") || socket.isClosed
    }
    return socket
  }
}

extension RawSocket {
  /// The ids of the events on a stream so far, in order.
  package var eventIDs: [String] {
    text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("id: ") }.map {
      String($0.dropFirst(4))
    }
  }

  /// How often an event of a type is on a stream so far.
  package func count(of type: String) -> Int {
    text.split(whereSeparator: \.isNewline).count { $0 == "event: \(type)" }
  }
}
