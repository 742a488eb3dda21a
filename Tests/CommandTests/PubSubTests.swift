import Foundation
import TestSupport
import Testing

@Suite("publish and subscribe")
struct PubSubTests {
  private func subscribe(
    _ words: String..., on server: RedisServer
  ) async throws -> ManagedProcess {
    let process = try Paasbus.start(["subscribe"] + words, on: server)
    try await eventually("it listens") { process.errorOutput.contains("listening") }
    return process
  }

  private func publish(
    _ words: String..., on server: RedisServer, input: [UInt8]? = nil
  ) async throws -> ManagedProcess {
    let environment = ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 }
    let process = try ManagedProcess(
      Paasbus.path, ["publish"] + words, environment: environment, input: input)
    _ = try await process.exitStatus()
    return process
  }

  @Test("a message reaches those who listen to its channel, or to a pattern of it")
  func basics() async throws {
    try await RedisServer.with { server in
      let plain = try await subscribe("jobs:done", on: server)
      let pattern = try await subscribe("--json", "jobs:*", "other", on: server)
      let nobody = try await publish("nobody", "x", on: server)
      #expect(nobody.output == "0\n")
      let publisher = try await publish("jobs:done", "job 17\tü", on: server)
      #expect(publisher.output == "2\n" && publisher.errorOutput.isEmpty)
      _ = try await publish("other", "", on: server)
      try await eventually("both are shown") { pattern.lines.count == 2 && !plain.lines.isEmpty }
      #expect(plain.output == "jobs:done\tjob 17\tü\n")
      #expect(
        pattern.lines == [
          #"{"channel":"jobs:done","message":"job 17\u0009ü","pattern":"jobs:*"}"#,
          #"{"channel":"other","message":""}"#,
        ])
      for process in [plain, pattern] {
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 0)
      }
    }
  }

  @Test("a message is read from an input that does not wait by itself")
  func nonBlocking() async throws {
    try await RedisServer.with { server in
      let subscriber = try await subscribe("c", on: server)
      let program = """
        import fcntl, os, subprocess, sys, time
        reading, writing = os.pipe()
        fcntl.fcntl(reading, fcntl.F_SETFL, os.O_NONBLOCK)
        child = subprocess.Popen(sys.argv[1:], stdin=reading)
        for part in (b"late ", b"message"):
            time.sleep(0.3)
            os.write(writing, part)
        os.close(writing)
        sys.exit(child.wait())
        """
      let publisher = try Odd.start(program, [Paasbus.path, "publish", "c", "-"], on: server)
      #expect(try await publisher.exitStatus() == 0, "\(publisher.errorOutput)")
      try await eventually("it is told") { subscriber.output == "c\tlate message\n" }
    }
  }

  @Test("too few subscribers are a failure where some are expected")
  func expected() async throws {
    try await RedisServer.with { server in
      let few = try await publish("--expect", "1", "jobs", "x", on: server)
      #expect(try await few.exitStatus() == 1)
      #expect(few.output == "0\n" && few.errorOutput.contains("0 of 1 subscribers"))
      let subscriber = try await subscribe("--count", "1", "jobs", on: server)
      let enough = try await publish("--expect", "1", "jobs", "x", on: server)
      #expect(try await enough.exitStatus() == 0)
      #expect(try await subscriber.exitStatus() == 0)
      #expect(subscriber.output == "jobs\tx\n")
    }
  }

  @Test("any bytes and 10 MB arrive as they were sent")
  func binary() async throws {
    try await RedisServer.with { server in
      let raw = try await subscribe("--count", "1", "bytes", on: server)
      let json = try await subscribe("--json", "--count", "1", "bytes", on: server)
      let bytes: [UInt8] = [0, 255, 10, 13, 27, 128]
      let publisher = try await publish("bytes", "-", on: server, input: bytes)
      #expect(publisher.output == "2\n")
      #expect(try await json.exitStatus() == 0)
      #expect(json.objects.first?["base64"] == .string(Data(bytes).base64EncodedString()))
      #expect(try await raw.exitStatus() == 0)
      #expect(raw.bytes == Array("bytes\t".utf8) + bytes + [10])
      let large = try await subscribe("--count", "1", "large", on: server)
      let payload = (0..<10_000_000).map { UInt8($0 % 251) }
      _ = try await publish("large", on: server, input: payload)
      #expect(try await large.exitStatus() == 0)
      #expect(large.bytes == Array("large\t".utf8) + payload + [10])
    }
  }

  @Test("a hundred channels are listened to")
  func manyChannels() async throws {
    try await RedisServer.with { server in
      let words = (0..<100).map { "channel\($0)" }
      let subscriber = try Paasbus.start(["subscribe", "--count", "100"] + words, on: server)
      try await eventually("it listens") { subscriber.errorOutput.contains("listening") }
      for word in words { try await server.command("PUBLISH", word, word) }
      #expect(try await subscriber.exitStatus() == 0)
      #expect(subscriber.lines == words.map { "\($0)\t\($0)" })
    }
  }

  @Test("a lost connection is made anew, and what that costs is said")
  func reconnect() async throws {
    try await RedisServer.with { server in
      let subscriber = try await subscribe("jobs", on: server)
      server.kill()
      try await eventually("it noticed") { subscriber.errorOutput.contains("meanwhile are lost") }
      try await server.start()
      try await eventually("it is back") { subscriber.errorOutput.contains("in between are lost") }
      _ = try await publish("jobs", "x", on: server)
      try await eventually("it hears") { subscriber.output == "jobs\tx\n" }
      #expect(subscriber.errorLines.count == 3)
    }
  }

  @Test("on a terminal nothing that came can move the cursor")
  func terminal() async throws {
    try await RedisServer.with { server in
      try await Terminal.with(
        "\(Paasbus.path) subscribe -q jobs", environment: ["PAASBUS_URL": server.url]
      ) { terminal in
        try await eventually("it listens") {
          try await server.cli("PUBLISH", "jobs", "a\u{1b}[2Jb\nc\u{202e}") == "1\n"
        }
        try await terminal.expect(#"a\u{1b}[2Jb\nc\u{202e}"#)
      }
    }
  }

  @Test("a closed pipe ends it quietly, also when nothing comes any more")
  func closedPipe() async throws {
    try await RedisServer.with { server in
      let line = "PAASBUS_URL=\(server.url) \(Paasbus.path) subscribe jobs"
      let pipe = try ManagedProcess(
        "/bin/bash", ["-c", "\(line) | head -1; echo ${PIPESTATUS[0]}"])
      try await eventually("it listens") { pipe.errorOutput.contains("listening") }
      try await server.command("PUBLISH", "jobs", "x")
      #expect(try await pipe.exitStatus() == 0)
      #expect(pipe.output == "jobs\tx\n0\n")
    }
  }

  @Test(
    "what makes no sense is refused",
    arguments: [
      ["publish"], ["publish", "", "x"], ["publish", "--expect", "-1", "c", "x"],
      ["subscribe"], ["subscribe", ""], ["subscribe", "--count", "0", "c"],
    ])
  func usage(words: [String]) async throws {
    let process = try Paasbus.start(words, environment: ["PAASBUS_URL": "redis://127.0.0.1:1"])
    #expect(try await process.exitStatus() == 64)
    #expect(process.errorLines.count == 1)
  }
}
