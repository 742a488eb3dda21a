import Foundation
import TestSupport
import Testing

@Suite("The local bus")
struct LocalBusTests {
  /// Runs `body` with a runtime folder of its own, and ends the bus afterwards.
  private func withRuntimeFolder(
    _ body: ([String: String]) async throws -> Void
  ) async throws {
    let folder = "/tmp/paasbus-run-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let environment = ["XDG_RUNTIME_DIR": folder]
    do {
      try await body(environment)
    } catch {
      try await end(environment, folder)
      throw error
    }
    try await end(environment, folder)
  }

  private func end(_ environment: [String: String], _ folder: String) async throws {
    _ = try await run("stop", environment)
    try FileManager.default.removeItem(atPath: folder)
  }

  @discardableResult
  private func run(_ verb: String, _ environment: [String: String]) async throws -> Int32 {
    try await Paasbus.start("local", verb, environment: environment).exitStatus()
  }

  /// The ids of the processes whose command line holds this folder, or that run there.
  private func servers(in folder: String) throws -> [Int32] {
    try processes { id in
      let line = try? String(contentsOfFile: "/proc/\(id)/cmdline", encoding: .utf8)
      return line?.contains("redis-server") == true && line?.contains(folder) == true
    }
  }

  private func keeper(of server: Int32) throws -> Int32 {
    let status = try String(contentsOfFile: "/proc/\(server)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("PPid:") }
    return Int32(line?.split(separator: "\t").last ?? "0") ?? 0
  }

  @Test("start, status and stop")
  func lifeCycle() async throws {
    try await withRuntimeFolder { environment in
      #expect(try await run("status", environment) == 1)
      #expect(try await run("start", environment) == 0)
      #expect(try await run("start", environment) == 0)
      #expect(try await run("status", environment) == 0)
      let folder = try #require(environment["XDG_RUNTIME_DIR"])
      #expect(try servers(in: folder).count == 1)
      let list = try Paasbus.start("list", environment: environment)
      #expect(try await list.exitStatus() == 0)
      #expect(list.errorOutput.contains("local bus"))
      #expect(try await run("stop", environment) == 0)
      #expect(try await run("status", environment) == 1)
      #expect(try servers(in: folder).isEmpty)
    }
  }

  @Test("two first commands at the same instant start one server")
  func together() async throws {
    try await withRuntimeFolder { environment in
      let starts = try (0..<4).map { _ in
        try Paasbus.start("local", "start", environment: environment)
      }
      for start in starts { #expect(try await start.exitStatus() == 0) }
      #expect(try servers(in: try #require(environment["XDG_RUNTIME_DIR"])).count == 1)
    }
  }

  @Test("once all of several starts are done, there is one keeper and no other comes late")
  func oneKeeper() async throws {
    try await withRuntimeFolder { environment in
      let folder = try #require(environment["XDG_RUNTIME_DIR"])
      for _ in 1...3 {
        let starts = try (0..<6).map { _ in
          try Paasbus.start("local", "start", environment: environment)
        }
        for start in starts { #expect(try await start.exitStatus() == 0) }
        #expect(try keepers(in: folder).count == 1)
        #expect(try await run("stop", environment) == 0)
        #expect(try keepers(in: folder).isEmpty)
      }
    }
  }

  /// The ids of the keepers whose runtime folder is this one.
  private func keepers(in folder: String) throws -> [Int32] {
    try processes { id in
      let line = try? String(contentsOfFile: "/proc/\(id)/cmdline", encoding: .utf8)
      let variables = try? String(contentsOfFile: "/proc/\(id)/environ", encoding: .utf8)
      return line?.contains("local\0keep") == true && variables?.contains(folder) == true
    }
  }

  private func processes(_ isMeant: (Int32) -> Bool) throws -> [Int32] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }
      .filter(isMeant)
  }

  @Test("starts and stops at the same time each reach their end")
  func crossing() async throws {
    try await withRuntimeFolder { environment in
      let verbs = ["start", "stop", "start", "stop", "start", "stop"]
      let commands = try verbs.map { try Paasbus.start("local", $0, environment: environment) }
      for command in commands {
        #expect(try await command.exitStatus() == 0, "\(command.errorOutput)")
      }
      #expect(try await run("start", environment) == 0)
      #expect(try servers(in: try #require(environment["XDG_RUNTIME_DIR"])).count == 1)
    }
  }

  @Test("a killed keeper leaves no server behind")
  func killedKeeper() async throws {
    try await withRuntimeFolder { environment in
      let folder = try #require(environment["XDG_RUNTIME_DIR"])
      try await run("start", environment)
      let server = try #require(try servers(in: folder).first)
      kill(try keeper(of: server), SIGKILL)
      try await eventually("the server is gone") { try servers(in: folder).isEmpty }
      #expect(try await run("start", environment) == 0)
    }
  }

  @Test("a killed server is started anew, and the announced instance is there again")
  func killedServer() async throws {
    try await withRuntimeFolder { environment in
      let folder = try #require(environment["XDG_RUNTIME_DIR"])
      try await run("start", environment)
      let announce = try Paasbus.start(
        "announce", "--name", "w", "--lease", "2s", environment: environment)
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      let server = try #require(try servers(in: folder).first)
      kill(server, SIGKILL)
      try await eventually("it is there again") {
        let list = try Paasbus.start("list", environment: environment)
        _ = try await list.exitStatus()
        return list.output.contains("1 up")
      }
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
    }
  }

  @Test("it ends some time after its last client")
  func idle() async throws {
    try await withRuntimeFolder { environment in
      let folder = try #require(environment["XDG_RUNTIME_DIR"])
      let start = try Paasbus.start("local", "start", "--idle", "1s", environment: environment)
      #expect(try await start.exitStatus() == 0)
      try await eventually("the server is gone") { try servers(in: folder).isEmpty }
    }
  }

  @Test("a folder that others can enter is refused")
  func openFolder() async throws {
    try await withRuntimeFolder { environment in
      let folder = try #require(environment["XDG_RUNTIME_DIR"]) + "/paasbus"
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
      let start = try Paasbus.start("local", "start", environment: environment)
      #expect(try await start.exitStatus() == 78)
      #expect(start.errorOutput.contains("only you can enter"))
      try FileManager.default.removeItem(atPath: folder)
    }
  }

  @Test("without a redis-server on the PATH the package is named")
  func noServer() async throws {
    try await withRuntimeFolder { environment in
      let start = try Paasbus.start(
        "local", "start", environment: environment.merging(["PATH": "/nowhere"]) { $1 })
      #expect(try await start.exitStatus() == 78)
      #expect(start.errorOutput.contains("install the package redis-server"))
    }
  }
}
