import ExpressSessions
import Foundation
import TestSupport
import Testing

@Suite("The relay")
struct RelayTests {
  static let secret = "keyboard cat"
  static let environment = ["PAASBUS_SESSION_SECRET": secret]

  func gateway(
    _ words: String..., on server: RedisServer, environment: [String: String] = environment
  ) async throws -> PanelProcess {
    let panel = try await PanelProcess.start(
      ["--app", "shop", "--relay"] + words, on: server, environment: environment)
    try await eventually("it is ready: \(panel.process.errorOutput)") {
      try await panel.ask("/readyz").status == 200
    }
    return panel
  }

  /// Writes a session as an app does, and returns its cookie.
  func session(
    _ id: String, _ members: String, on server: RedisServer, secret: String = secret
  ) async throws -> String {
    try await server.command(
      "SET", "sess:\(id)", #"{"cookie":{"originalMaxAge":3600000},\#(members)}"#, "EX", "3600")
    return SessionSecrets([secret])?.cookie(for: SessionID(id)) ?? ""
  }

  func user(_ name: String, on server: RedisServer) async throws -> String {
    try await session("session-of-\(name)", #""user":{"id":"\#(name)"}"#, on: server)
  }

  func connect(
    _ query: String = "", _ cookie: String, to gateway: PanelProcess,
    _ headers: [String: String] = [:]
  ) async throws -> WebSocketClient {
    let all = ["Cookie": "connect.sid=\(cookie)"].merging(headers) { $1 }
    return try await WebSocketClient.connect("/relay\(query)", port: gateway.port, headers: all)
  }

  /// Connects, and waits until it is attached.
  func attach(
    _ query: String = "", _ cookie: String, to gateway: PanelProcess
  ) async throws -> WebSocketClient {
    let client = try await connect(query, cookie, to: gateway)
    try await eventually("it is attached: \(client.head)") { !client.objects("hello").isEmpty }
    return client
  }

  func publish(_ channel: String, _ texts: String..., on server: RedisServer) async throws {
    for text in texts { try await server.command("PUBLISH", channel, text) }
  }

  @Test("a job's result reaches its user, at each of the user's sockets, and nobody else")
  func delivers() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let (zoe, other) = (try await user("42", on: server), try await user("43", on: server))
      let sockets = [
        try await attach("", zoe, to: gateway), try await attach("", zoe, to: gateway),
      ]
      let stranger = try await attach("", other, to: gateway)
      try await publish("JOB:42:report", "done", "\u{1b}é\n\"", on: server)
      try await server.cli(["-x", "PUBLISH", "JOB:42:picture"], input: [0xFF, 0x00])
      try await publish("JOB:43:report", "other", on: server)
      for socket in sockets {
        #expect(try await socket.waitFor(3) == ["done", "\u{1b}é\n\"", "/wA="])
      }
      let message = sockets[0].objects("msg")[0]
      #expect(message["job"] == .string("report") && message["id"]?.text?.hasSuffix("-1") == true)
      #expect(sockets[0].objects("hello")[0]["user"] == .string("42"))
      #expect(try await stranger.waitFor(1) == ["other"])
      let metrics = try await gateway.ask("/metrics").text
      for line in [
        "paasbus_relay_sockets 3", "paasbus_relay_users 2", "paasbus_relay_delivered_total 7",
      ] {
        #expect(metrics.contains(line), "\(line) in \(metrics)")
      }
    }
  }

  @Test("raw sockets get bare payloads, as in the tutorial")
  func raw() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      let socket = try await connect("?raw=1", cookie, to: gateway)
      try await eventually("it is attached") {
        try await gateway.ask("/metrics").text.contains("paasbus_relay_sockets 1")
      }
      try await eventually("it is heard") {
        try await publish("JOB:42:x", "text", on: server)
        return !socket.frames.isEmpty
      }
      try await server.cli(["-x", "PUBLISH", "JOB:42:x"], input: [0xFF])
      try await eventually("both are there") { socket.frames.last?.opcode == 2 }
      #expect(socket.frames.first?.opcode == 1 && socket.frames.first?.text == "text")
      #expect(socket.frames.last?.bytes == [0xFF])
    }
  }

  @Test("as Server-Sent Events the same comes, and goes on behind Last-Event-ID")
  func events() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      func follow(_ more: String) async throws -> RawSocket {
        let socket = try await RawSocket.connect(port: gateway.port)
        await socket.send(
          "GET /relay/events HTTP/1.1\r\nHost: localhost\r\nCookie: connect.sid=\(cookie)\r\n\(more)\r\n"
        )
        try await eventually("it is attached: \(socket.text)") { socket.text.contains(#""hello""#) }
        return socket
      }
      let socket = try await follow("")
      try await publish("JOB:42:x", "one", on: server)
      try await eventually("it comes") { socket.text.contains(#""data":"one""#) }
      let id =
        socket.text.split(whereSeparator: \.isNewline).last { $0.hasPrefix("id: ") }?.dropFirst(4)
        ?? ""
      await socket.close()
      try await publish("JOB:42:x", "two", on: server)
      let again = try await follow("Last-Event-ID: \(id)\r\n")
      try await eventually("it comes") { again.text.contains(#""data":"two""#) }
      #expect(again.text.contains(#""recovered":true"#) && !again.text.contains("one"))
    }
  }

  @Test("both kinds of sockets are told that their gateway ends")
  func drain() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      let stream = try await RawSocket.connect(port: gateway.port)
      await stream.send(
        "GET /relay/events HTTP/1.1\r\nHost: localhost\r\nCookie: connect.sid=\(cookie)\r\n\r\n")
      try await eventually("it is attached") { stream.text.contains(#""hello""#) }
      let socket = try await attach("", cookie, to: gateway)
      gateway.process.signal(SIGTERM)
      #expect(try await gateway.process.exitStatus(within: .seconds(6)) == 0)
      let bye = #"{"t":"bye","code":1001,"retry":true}"#
      let text = try await stream.untilClosed(within: .seconds(5))
      #expect(text.contains(bye) && text.hasSuffix("0\r\n\r\n"), "\(text)")
      #expect(try await socket.waitForClose() == 1001)
      #expect(socket.frames.contains { $0.text == bye })
    }
  }

  @Test("a gateway is killed, and its browsers get at another one what they missed")
  func failover() async throws {
    try await RedisServer.with { server in
      let first = try await gateway(on: server)
      let second = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      let socket = try await attach("", cookie, to: first)
      try await publish("JOB:42:x", "1", "2", on: server)
      #expect(try await socket.waitFor(2) == ["1", "2"])
      let last = socket.objects("msg").last?["id"]?.text ?? ""
      first.process.signal(SIGKILL)
      try await publish("JOB:42:x", "3", "4", on: server)
      let again = try await attach("?since=\(last)", cookie, to: second)
      try await publish("JOB:42:x", "5", on: server)
      #expect(try await again.waitFor(3) == ["3", "4", "5"])
      #expect(again.objects("hello")[0]["recovered"] == .bool(true))
      // One that comes later has it from the second.
      let third = try await gateway(on: server)
      second.process.signal(SIGKILL)
      let late = try await attach("?since=\(last)", cookie, to: third)
      #expect(try await late.waitFor(3) == ["3", "4", "5"])
    }
  }

  @Test("what is kept waits for a gateway, and a graceful restart of the only one loses nothing")
  func keeps() async throws {
    try await RedisServer.with { server in
      let first = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      let socket = try await attach("", cookie, to: first)
      try await publish("JOB:42:x", "1", on: server)
      _ = try await socket.waitFor(1)
      let last = socket.objects("msg").last?["id"]?.text ?? ""
      try await publish("JOB:42:x", "2", on: server)
      _ = try await socket.waitFor(2)
      first.process.signal(SIGTERM)
      #expect(try await socket.waitForClose() == 1001)
      #expect(try await first.process.exitStatus() == 0)
      let keep = try Paasbus.start(
        ["publish", "--keep", "--app", "shop", "JOB:42:x", "3"], on: server)
      #expect(try await keep.exitStatus() == 0 && keep.output == "0\n", "\(keep.errorOutput)")
      let second = try await gateway(on: server)
      let again = try await attach("?since=\(last)", cookie, to: second)
      #expect(try await again.waitFor(2) == ["2", "3"])
      #expect(again.objects("hello")[0]["recovered"] == .bool(true))
      for (words, text) in [
        (["JOB", "-"], "does not listen to JOB"),
        (["JOB:1:x", "-"], "larger than 128 KiB"),
      ] {
        let wrong = try Paasbus.start(
          ["publish", "--keep", "--app", "shop"] + words, on: server,
          input: String(repeating: "x", count: 131_073))
        #expect(
          try await wrong.exitStatus() == 64 && wrong.errorOutput.contains(text),
          "\(wrong.errorOutput)")
      }
    }
  }

  @Test("a Redis that is away is told, and its sockets are closed in time")
  func outage() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      let socket = try await attach("", cookie, to: gateway)
      server.kill()
      #expect(try await socket.waitForClose() == 4503)
      #expect(
        try await gateway.ask("/relay/check", ["Cookie": "connect.sid=\(cookie)"]).status == 503)
      #expect(try await gateway.ask("/readyz").status == 503)
      try await server.start()
      try await eventually("it is ready again") { try await gateway.ask("/readyz").status == 200 }
      let new = try await user("42", on: server)
      let again = try await attach("", new, to: gateway)
      try await publish("JOB:42:x", "back", on: server)
      #expect(try await again.waitFor(1) == ["back"])
    }
  }

  @Test("a Redis that only says nothing any more is noticed, and the sockets are closed within 8 s")
  func silence() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let socket = try await attach("", user("42", on: server), to: gateway)
      server.freeze()
      let begun = ContinuousClock.now
      #expect(try await socket.waitForClose() == 4503)
      #expect(ContinuousClock.now - begun < .seconds(8))
      server.thaw()
      try await eventually("it is ready again") { try await gateway.ask("/readyz").status == 200 }
    }
  }
}
