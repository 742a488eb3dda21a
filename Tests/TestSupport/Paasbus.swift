import Foundation

/// The built program.
package enum Paasbus {
  package static var path: String {
    let tests = CommandLine.arguments.first ?? ""
    return URL(filePath: tests).deletingLastPathComponent().appending(path: "paasbus").path
  }

  /// Starts it with a bare environment and the server's URL in `PAASBUS_URL`.
  package static func start(
    _ words: String..., on server: RedisServer? = nil, environment: [String: String] = [:]
  ) throws -> ManagedProcess {
    try start(words, on: server, environment: environment)
  }

  package static func start(
    _ words: [String], on server: RedisServer? = nil, environment: [String: String] = [:],
    input: String? = nil
  ) throws -> ManagedProcess {
    var all = ManagedProcess.bareEnvironment
    if let server { all["PAASBUS_URL"] = server.url }
    all.merge(environment) { $1 }
    return try ManagedProcess(path, words, environment: all, input: input.map { Array($0.utf8) })
  }

  /// Starts an announcer and waits until it has been announced.
  package static func announce(
    _ words: String..., on server: RedisServer
  ) async throws -> ManagedProcess {
    let process = try start(["announce"] + words, on: server)
    try await eventually("it is announced") { process.errorOutput.contains("announced ") }
    return process
  }

  /// Starts `watch --json` and waits until it watches.
  package static func watch(
    _ words: String..., on server: RedisServer
  ) async throws -> ManagedProcess {
    let process = try start(["watch", "--json"] + words, on: server)
    try await eventually("it watches") {
      process.errorOutput.contains("watching ") || process.errorOutput.contains("waiting")
    }
    return process
  }
}

extension ManagedProcess {
  /// Those of one type, in order.
  package func objects(ofType type: String) -> [[String: JSONValue]] {
    objects.filter { $0["type"] == .string(type) }
  }

  /// Waits until it has said this on stderr.
  package func waitToSay(_ text: String) async throws {
    try await eventually("it says \(text): \(errorOutput)") { errorOutput.contains(text) }
  }

  /// Waits for as many objects of a type.
  package func waitFor(_ type: String, count: Int = 1) async throws -> [[String: JSONValue]] {
    do {
      try await eventually("\(count) of \(type)") { self.objects(ofType: type).count >= count }
    } catch {
      throw Impatience(description: "\(error) among\n\(output)\(errorOutput)")
    }
    return objects(ofType: type)
  }
}

/// A JSON value as tests compare it.
package enum JSONValue: Decodable, Hashable, Sendable {
  case number(Int64)
  case string(String)
  case bool(Bool)
  case object([String: JSONValue])
  case other

  package var text: String? {
    if case .string(let text) = self { text } else { nil }
  }

  package var integer: Int64? {
    if case .number(let number) = self { number } else { nil }
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([String: JSONValue].self) {
      self = .object(value)
    } else {
      self = .other
    }
  }
}
