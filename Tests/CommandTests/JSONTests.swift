import Foundation
import TestSupport
import Testing

/// Compares the examples of the page on JSON with what the program prints: the same members, in the same
/// order, of the same kinds.
@Suite("The page on JSON")
struct JSONTests {
  /// The examples, in the order of the page.
  private static let examples: [String] = {
    let page = URL(filePath: #filePath).deletingLastPathComponent().appending(
      path: "../../Sources/Presence/Presence.docc/JSON.md")
    let text = (try? String(contentsOf: page, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").filter { $0.hasPrefix("{") }.map(String.init)
  }()

  /// The members of an object as `name:kind`.
  private func shape(_ line: String) throws -> [String] {
    let object = try JSONDecoder().decode([String: JSONValue].self, from: Data(line.utf8))
    let places = object.keys.map { name in
      (name, line.firstRange(of: "\"\(name)\":")?.lowerBound ?? line.endIndex)
    }
    return places.sorted { $0.1 < $1.1 }.map { name, _ in "\(name):\(object[name]?.kind ?? "")" }
  }

  private func expect(_ line: String?, like example: Int, on page: String) throws {
    let line = try #require(line, "nothing is printed for \(page)")
    let expected = try #require(Self.examples.dropFirst(example).first)
    #expect(expected.contains(page), "\(expected) is not about \(page)")
    #expect(try shape(line) == shape(expected), "\(line)\n\(expected)")
  }

  @Test("there is an example for each kind of line")
  func count() { #expect(Self.examples.count == 11) }

  @Test("events, instances, and what is said about them")
  func events() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let gate = server.folder.appending(path: "gate").path
      let words = [
        "announce", "--app", "shop", "--process", "web", "--release", "v42", "--commit", "9af81c2",
        "--region", "eu", "--meta", "zone=a", "--", "sh", "-c",
        "while [ ! -e \(gate) ]; do sleep 0.01; done; exit 3",
      ]
      let announce = try Paasbus.start(words, on: server, environment: ["DYNO": "web.1"])
      _ = try await watch.waitFor("start")
      let list = try Paasbus.start("list", "--json", on: server)
      #expect(try await list.exitStatus() == 0)
      try expect(list.lines.first, like: 1, on: "state")
      let snapshot = try await Paasbus.watch(on: server)
      try await eventually("the snapshot is shown") { !snapshot.lines.isEmpty }
      #expect(
        try shape(snapshot.lines[0])
          == ["source:string"] + shape(list.lines[0]).filter { $0 != "beat:number" })
      try Data().write(to: URL(filePath: gate))
      #expect(try await announce.exitStatus() == 3)
      _ = try await watch.waitFor("stop")
      try expect(watch.lines.last, like: 0, on: "exit")
      let history = try Paasbus.start("history", "--json", "-n", "1", on: server)
      #expect(try await history.exitStatus() == 0)
      #expect(history.output == watch.lines.last?.replacing("live", with: "replay").appending("\n"))
      try await server.command(
        "HSET", "paasbus:{shop}:handlers", "pager", "1 0 TOKEN \(Int64.max / 2) 1")
      let handler = try Paasbus.start("history", "--json", "--handler", "pager", on: server)
      #expect(try await handler.exitStatus() == 0, "\(handler.errorOutput)")
      try expect(handler.lines.first, like: 2, on: "handler")
      try await server.cli("PUBLISH", "instances", "anything that is no event")
      _ = try await watch.waitFor("message")
      try expect(watch.lines.last, like: 3, on: "message")
      try await server.cli("PUBLISH", "instances", "start")
      _ = try await watch.waitFor("start", count: 2)
      try expect(watch.lines.last, like: 4, on: "foreign")
    }
  }

  @Test("what the other commands print")
  func others() async throws {
    try await RedisServer.with { server in
      let announce = try await Paasbus.announce(on: server)
      let wait = try Paasbus.start("wait", "--timeout", "10s", "--json", on: server)
      #expect(try await wait.exitStatus() == 0)
      try expect(wait.lines.first, like: 5, on: "waited")
      try await server.command("CONFIG", "SET", "maxclients", "4")
      let doctor = try Paasbus.start("doctor", "--json", on: server)
      _ = try await doctor.exitStatus()
      try expect(doctor.lines.first { $0.contains("warn") }, like: 6, on: "remedy")
      try await server.cli("CONFIG", "SET", "maxclients", "100")
      let subscribe = try Paasbus.start("subscribe", "--json", "jobs:*", on: server)
      try await eventually("it listens") { subscribe.errorOutput.contains("listening") }
      let publish = try Paasbus.start("publish", "--json", "jobs:done", "job 17", on: server)
      #expect(try await publish.exitStatus() == 0)
      try expect(publish.lines.first, like: 7, on: "subscribers")
      try await eventually("it is there") { !subscribe.lines.isEmpty }
      try expect(subscribe.lines.first, like: 8, on: "pattern")
      let forget = try Paasbus.start("forget", "--all", "--yes", "--json", on: server)
      #expect(try await forget.exitStatus() == 0)
      try expect(forget.lines.first, like: 9, on: "ended")
      let runtime = ["XDG_RUNTIME_DIR": server.folder.path]
      let local = try Paasbus.start(["local", "start", "--json"], environment: runtime)
      #expect(try await local.exitStatus() == 0)
      try expect(local.lines.first, like: 10, on: "running")
      let stop = try Paasbus.start(["local", "stop", "--json"], environment: runtime)
      #expect(try await stop.exitStatus() == 0)
      announce.signal(SIGTERM)
    }
  }
}

extension JSONValue {
  fileprivate var kind: String {
    switch self {
    case .number: "number"
    case .string: "string"
    case .bool: "bool"
    case .object: "object"
    case .other: "other"
    }
  }
}
