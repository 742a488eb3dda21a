import Foundation
import TestSupport
import Testing

// What is too much, or not to be had.
extension RelayTests {
  @Test("what RFC 6455 forbids ends a socket with the code that it says")
  func rules() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      typealias Act = @Sendable (WebSocketClient) async -> Void
      let long = [UInt8](repeating: 0x61, count: 5000)
      let rules: [(Int, Act)] = [
        (1002, { await $0.send(1, Array("{}".utf8), isMasked: false) }),
        (1002, { await $0.send(1, [], reserved: 4) }), (1002, { await $0.send(3, []) }),
        (1002, { await $0.send(0xB, []) }), (1002, { await $0.send(0, []) }),
        (1002, { await $0.send(9, [], isFinal: false) }),
        (1002, { await $0.send(9, [UInt8](repeating: 0, count: 126)) }),
        (
          1002,
          {
            await $0.send(1, [], isFinal: false)
            await $0.send(1, [])
          }
        ),
        (1002, { await $0.send(8, [3]) }), (1002, { await $0.send(8, [0x03, 0xED]) }),
        (1002, { await $0.send(8, [0x03, 0xE8, 0xFF]) }),
        (1003, { await $0.send(2, [1]) }), (1007, { await $0.send(1, [0xC3]) }),
        (
          1007,
          {
            await $0.send(1, [0xC3], isFinal: false)
            await $0.send(0, [0x28])
          }
        ),
        (1008, { await $0.send(1, Array("hello".utf8)) }),
        (1008, { await $0.send(1, Array(#"{"t":"msg"}"#.utf8)) }),
        (1009, { await $0.send(1, long) }),
        (
          1009,
          {
            await $0.send(1, Array(long.prefix(3000)), isFinal: false)
            await $0.send(0, Array(long.prefix(3000)))
          }
        ),
        (1000, { await $0.send(8, [0x03, 0xE8]) }), (1000, { await $0.send(8, []) }),
        (1000, { await $0.send(8, [0x0B, 0xB8] + Array("bye".utf8)) }),
      ]
      for (index, (code, act)) in rules.enumerated() {
        let socket = try await attach("", cookie, to: gateway)
        await act(socket)
        #expect(try await socket.waitForClose() == code, "rule \(index)")
        try await eventually("the connection ends") { socket.isClosed }
      }
      let socket = try await attach("", cookie, to: gateway)
      // A fragmented message with a ping in between, and UTF-8 that is split between fragments.
      await socket.send(1, Array(#"{"t":"ack","x":""#.utf8) + [0xC3], isFinal: false)
      await socket.send(9, Array("there?".utf8))
      await socket.send(0, [0xA9] + Array(#""}"#.utf8))
      await socket.send(1, Array(#"{"t":"ping"}"#.utf8))
      try await eventually("the pong comes") { socket.frames.contains { $0.opcode == 10 } }
      #expect(socket.frames.first { $0.opcode == 10 }?.text == "there?")
      try await publish("JOB:42:x", "alive", on: server)
      #expect(try await socket.waitFor(1) == ["alive"])
    }
  }

  @Test("each bound is told")
  func bounds() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(
        "--max-message", "1000", "--max-sockets-per-user", "2", "--max-sockets", "3", on: server)
      let (zoe, other) = (try await user("42", on: server), try await user("43", on: server))
      let socket = try await attach("", zoe, to: gateway)
      let second = try await attach("", zoe, to: gateway)
      #expect(try await connect("", zoe, to: gateway).status == 429)
      let fourth = try await attach("", other, to: gateway)
      let third = try await user("44", on: server)
      #expect(try await connect("", third, to: gateway).status == 429)
      #expect(!fourth.isClosed)
      await second.close()
      try await eventually("there is room again") {
        try await connect("", third, to: gateway).status == 101
      }
      let large = String(repeating: "x", count: 1001)
      try await publish("JOB:42:x", "before", large, "after", on: server)
      #expect(try await socket.waitFor(3) == ["before", "gap large", "after"])
      // More than is remembered of one user.
      let last = socket.objects("msg").last?["id"]?.text ?? ""
      await socket.close()
      for number in 0..<120 { try await publish("JOB:42:x", "\(number)", on: server) }
      try await eventually("its end is noticed, and all are heard") {
        let metrics = try await gateway.ask("/metrics").text
        return metrics.contains("paasbus_relay_sockets 1\n")
          && metrics.contains("paasbus_relay_messages_total 123\n")
      }
      let again = try await attach("?since=\(last)", zoe, to: gateway)
      #expect(try await again.waitFor(101) == ["gap trimmed"] + (20..<120).map { "\($0)" })
      #expect(again.objects("hello")[0]["recovered"] == .bool(false))
    }
  }

  @Test(
    "a socket that does not read is ended with what waits for it, and costs no more than its queue")
  func slow() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let (zoe, other) = (try await user("42", on: server), try await user("43", on: server))
      let (slow, quick) = (
        try await attach("", zoe, to: gateway), try await attach("", other, to: gateway)
      )
      await slow.stopReading()
      let before = try gateway.process.peakMemory
      let text = String(repeating: "x", count: 100_000)
      for _ in 0..<300 { try await publish("JOB:42:x", text, on: server) }
      try await publish("JOB:43:x", "quick", on: server)
      #expect(try await quick.waitFor(1) == ["quick"])
      try await eventually("it is ended") {
        try await gateway.ask("/metrics").text.contains(
          #"paasbus_relay_closes_total{code="4409"} 1"#)
      }
      #expect(try gateway.process.peakMemory < before + 60_000)
    }
  }

  @Test(
    "a hundred large messages that were missed come at the reader's own pace, then what came meanwhile"
  )
  func slowResume() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let zoe = try await user("42", on: server)
      let before = try await attach("", zoe, to: gateway)
      try await publish("JOB:42:x", "first", on: server)
      _ = try await before.waitFor(1)
      let last = before.objects("msg").last?["id"]?.text ?? ""
      await before.close()
      let texts = (0..<100).map {
        String(format: "%03d", $0) + String(repeating: "x", count: 131_069)
      }
      for text in texts { try await publish("JOB:42:x", text, on: server) }
      func metric(_ name: String) async throws -> Int {
        let lines = try await gateway.ask("/metrics").text.split(separator: "\n")
        let line = lines.first { $0.hasPrefix("paasbus_relay_\(name) ") }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? -1
      }
      try await eventually("they are heard") { try await metric("messages_total") == 101 }
      let memory = try gateway.process.peakMemory
      let slow = try await connect("?since=\(last)", zoe, to: gateway)
      await slow.stopReading()
      try await eventually("it waits for its reader") { try await metric("queue_bytes") > 0 }
      let live = (0..<4).map { "live \($0)" }
      for text in live { try await publish("JOB:42:x", text, on: server) }
      try await pass(.seconds(3))
      #expect(try await metric("queue_bytes") < 1_300_000)
      // All of it once, as it is remembered, and what is written of it.
      #expect(try gateway.process.peakMemory < memory + 8_000)
      await slow.startReading()
      #expect(try await slow.waitFor(104) == texts + live)
      #expect(slow.objects("hello")[0]["recovered"] == .bool(true))
      #expect(
        try await gateway.ask("/metrics").text.contains(
          #"paasbus_relay_resumes_total{recovered="true"} 1"#))
    }
  }

  @Test("a relay that cannot work says why")
  func configuration() async throws {
    try await RedisServer.with { server in
      let file = server.folder.appending(path: "empty").path
      try Data().write(to: URL(filePath: file))
      for (words, environment, status, text) in [
        (["--relay"], [:], 78, "the secret of the app's session cookies is missing"),
        (["--relay", "--secret-file", file], [:], 78, "is empty"),
        (["--relay", "--channel", "JOB:{job}"], Self.environment, 64, "{user} once"),
        (["--relay", "--channel", "{user}{job}"], Self.environment, 64, "a text between"),
        (
          ["--relay", "--channel", "paasbus:{user}:{job}"], Self.environment, 64,
          "matches the channel"
        ),
        (
          ["--relay", "--origin", "shop.example.com"], Self.environment, 64, "--origin must be like"
        ),
        (["--relay", "--max-sockets", "0"], Self.environment, 64, "at least 1"),
        (["--relay", "--sessions-url", "http://x"], Self.environment, 78, "not a Redis URL"),
      ] as [([String], [String: String], Int32, String)] {
        let process = try Paasbus.start(
          ["serve", "--app", "shop", "--listen", "127.0.0.1:0", "-q"] + words, on: server,
          environment: environment)
        #expect(try await process.exitStatus() == status, "\(words)")
        #expect(
          process.errorLines.count == 1 && process.errorOutput.contains(text),
          "\(process.errorOutput)")
      }
      let first = try await gateway(on: server)
      let other = try Paasbus.start(
        [
          "serve", "--app", "shop", "--listen", "127.0.0.1:0", "-q", "--relay", "--channel",
          "WORK/{user}/{job}",
        ],
        on: server, environment: Self.environment)
      #expect(try await other.exitStatus() == 78)
      #expect(other.errorOutput.contains("another --channel"))
      _ = first
    }
  }

  @Test("in a cluster the relay is refused, and its sessions may lie in one")
  func cluster() async throws {
    try await RedisCluster.with { cluster in
      let url = "redis://127.0.0.1:\(cluster.nodes[0].port ?? 0)"
      let process = try Paasbus.start(
        ["serve", "--app", "shop", "--relay", "--listen", "127.0.0.1:0", "-q", "--url", url],
        environment: Self.environment)
      #expect(try await process.exitStatus() == 78)
      #expect(process.errorOutput.contains("cluster"))
    }
  }

  @Test("another form of channels, below a base path")
  func otherChannel() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(
        "--channel", "work/[x]/{user}/done/{job}", "--base-path", "/ops", "--no-login", on: server)
      let cookie = try await user("42", on: server)
      let socket = try await WebSocketClient.connect(
        "/ops/relay", port: gateway.port, headers: ["Cookie": "connect.sid=\(cookie)"])
      try await eventually("it is attached") { !socket.objects("hello").isEmpty }
      try await publish("work/[x]/42/done/report/7", "1", on: server)
      #expect(try await socket.waitFor(1) == ["1"])
      #expect(socket.objects("msg")[0]["job"] == .string("report/7"))
    }
  }

  @Test(
    "the permissions that the docs name are enough, and without INFO it works as well",
    .enabled(if: RedisServer.hasChannelPermissions, "this server has no users"))
  func permissions() async throws {
    try await RedisServer.with { server in
      let cookie = try await user("42", on: server)
      let enough = [
        "on", ">pw", "~sess:*", "~paasbus:*", "resetchannels", "&JOB:*", "&paasbus:*", "&instances",
        "&__redis__:invalidate", "-@all", "+@connection", "+@pubsub", "+@scripting", "+@read",
        "+@transaction", "+@write", "+time",
      ]
      for more in [["+info"], []] {
        try await server.cli(["ACL", "SETUSER", "gateway", "reset"] + enough + more)
        let gateway = try await gateway(
          "--url", "unix://gateway:pw@\(server.socketPath)", on: server)
        let socket = try await attach("", cookie, to: gateway)
        try await publish("JOB:42:x", "1", "2", on: server)
        #expect(try await socket.waitFor(2) == ["1", "2"])
        try await server.command("SET", "sess:session-of-42", "x")
        #expect(try await socket.waitForClose(within: .seconds(5)) == 4401)
        _ = try await user("42", on: server)
        gateway.process.signal(SIGTERM)
        _ = try await gateway.process.exitStatus()
      }
    }
  }
}
