import Foundation

/// A real Express app with its sessions in Redis, started by `paasbus announce`.
package final class ExpressApp: Sendable {
  /// Whether this machine has what the app is made of.
  package static let isPossible = hasModule("express") && hasModule("redis")

  /// Whether node finds a module of Debian's here.
  package static func hasModule(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: "/usr/share/nodejs/\(name)")
  }

  private static let script = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ExpressApp/app.js").path

  package let process: ManagedProcess
  package let port: Int

  private init(_ process: ManagedProcess, port: Int) {
    (self.process, self.port) = (process, port)
  }

  /// Starts it and waits until it listens.
  package static func start(
    _ name: String, on server: RedisServer, secrets: String = "keyboard cat"
  ) async throws -> ExpressApp {
    let process = try Paasbus.start(
      ["announce", "--name", name, "--", "node", script], on: server,
      environment: [
        "SOCKET": server.socketPath, "SECRETS": secrets, "NODE_PATH": "/usr/share/nodejs",
        "NODE_ENV": "production",
      ])
    try await eventually("the app listens") {
      process.output.contains("listening at ") || !process.isRunning
    }
    guard let number = process.output.firstMatch(of: /listening at (\d+)/)?.1,
      let port = Int(number)
    else { throw Impatience(description: "the app does not start: \(process.errorOutput)") }
    return ExpressApp(process, port: port)
  }

  /// Starts a worker for the app's jobs.
  package static func startWorker(on server: RedisServer) async throws -> ManagedProcess {
    let process = try startScript("worker.js", on: server)
    try await eventually("the worker works: \(process.errorOutput)") {
      process.output.contains("working")
    }
    return process
  }

  /// Starts a worker that publishes numbers for users all the time, and prints `USER NUMBER` for each.
  package static func startPublisher(
    for users: [String], on server: RedisServer
  ) throws -> ManagedProcess {
    try startScript(
      "publisher.js", on: server, environment: ["USERS": users.joined(separator: ",")])
  }

  private static func startScript(
    _ name: String, on server: RedisServer, environment: [String: String] = [:]
  ) throws -> ManagedProcess {
    let path = URL(filePath: script).deletingLastPathComponent().appending(path: name).path
    let own = ["SOCKET": server.socketPath, "NODE_PATH": "/usr/share/nodejs"]
    return try ManagedProcess(
      "node", [path],
      environment: ManagedProcess.bareEnvironment.merging(own) { $1 }.merging(environment) { $1 })
  }

  /// Asks for a path as a browser with this cookie does.
  package func ask(_ path: String, cookie: String? = nil) async throws -> HTTPAnswer {
    try await HTTPAnswer.to(
      path, cookie.map { ["Cookie": "connect.sid=\($0)"] } ?? [:], port: port)
  }

  /// What it answers to a browser with this cookie, without its own name.
  package func says(_ path: String, cookie: String? = nil) async throws -> String {
    let answer = try await ask(path, cookie: cookie)
    return answer.status == 200
      ? answer.text.split(separator: ": ", maxSplits: 1).last.map(String.init) ?? ""
      : "status \(answer.status)"
  }

  /// Logs a user in, and returns the cookie.
  package func logIn(_ user: String) async throws -> String {
    let header = try await ask("/login?user=\(user)")["set-cookie"] ?? ""
    return header.split(separator: ";").first?.split(separator: "=", maxSplits: 1).last.map(
      String.init) ?? ""
  }
}
