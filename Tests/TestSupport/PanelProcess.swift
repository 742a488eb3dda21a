import Foundation
import PaasbusRedis

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
      process.errorOutput.contains("serving at ") || !process.isRunning
    }
    let line = process.errorLines.last { $0.contains("serving at ") } ?? ""
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
    try await HTTPAnswer.to(path, method: method, headers, body: body, port: port)
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
