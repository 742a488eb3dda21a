import ExpressSessions
import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("The relay")
struct RelayTests {
  private static let secret = "keyboard cat"
  private static let environment = ["PAASBUS_SESSION_SECRET": secret]

  private func gateway(
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
  private func session(
    _ id: String, _ members: String, on server: RedisServer, secret: String = secret
  ) async throws -> String {
    try await server.command(
      "SET", "sess:\(id)", #"{"cookie":{"originalMaxAge":3600000},\#(members)}"#, "EX", "3600")
    return SessionSecrets([secret])?.cookie(for: SessionID(id)) ?? ""
  }

  private func user(_ name: String, on server: RedisServer) async throws -> String {
    try await session("session-of-\(name)", #""user":{"id":"\#(name)"}"#, on: server)
  }

  private func connect(
    _ query: String = "", _ cookie: String, to gateway: PanelProcess,
    _ headers: [String: String] = [:]
  ) async throws -> WebSocketClient {
    let all = ["Cookie": "connect.sid=\(cookie)"].merging(headers) { $1 }
    return try await WebSocketClient.connect("/relay\(query)", port: gateway.port, headers: all)
  }

  /// Connects, and waits until it is attached.
  private func attach(
    _ query: String = "", _ cookie: String, to gateway: PanelProcess
  ) async throws -> WebSocketClient {
    let client = try await connect(query, cookie, to: gateway)
    try await eventually("it is attached: \(client.head)") { !client.objects("hello").isEmpty }
    return client
  }

  private func publish(_ channel: String, _ texts: String..., on server: RedisServer) async throws {
    for text in texts { try await server.command("PUBLISH", channel, text) }
  }

  // MARK: Delivery

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

  // MARK: Who may listen

  @Test("a session that ends or becomes another user's closes its sockets at once")
  func sessionEnds() async throws {
    // Before Redis 6 nobody tells of changes.
    let limit = Duration.seconds(RedisServer.hasChannelPermissions ? 5 : 30)
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      for change in ["DEL", "user", "broken", "nobody", "touch"] {
        let cookie = try await user("42", on: server)
        let socket = try await attach("", cookie, to: gateway)
        let key = "sess:session-of-42"
        switch change {
        case "DEL": try await server.command("DEL", key)
        case "user": try await server.command("SET", key, #"{"cookie":{},"user":{"id":"43"}}"#)
        case "broken": try await server.command("SET", key, "x")
        case "nobody": try await server.command("SET", key, #"{"cookie":{},"passport":{}}"#)
        default: try await server.command("EXPIRE", key, "1000")
        }
        if change == "touch" {
          try await pass(.milliseconds(500))
          try await publish("JOB:42:x", "still", on: server)
          #expect(try await socket.waitFor(1) == ["still"])
        } else {
          #expect(try await socket.waitForClose(within: limit) == 4401, "\(change)")
          #expect(socket.objects("bye").first?["retry"] == .bool(false))
          try await publish("JOB:42:x", "secret", on: server)
          try await publish("JOB:43:x", "secret", on: server)
          #expect(socket.got.isEmpty)
        }
      }
    }
  }

  @Test(
    "a session that becomes another user's closes its sockets although a request looks at it first")
  func looksFirst() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      for _ in 0..<10 {
        let cookie = try await user("42", on: server)
        let socket = try await attach("", cookie, to: gateway)
        try await server.command(
          "SET", "sess:session-of-42", #"{"cookie":{},"user":{"id":"43"}}"#)
        let other = try await attach("", cookie, to: gateway)
        #expect(other.objects("hello").first?["user"] == .string("43"))
        #expect(try await socket.waitForClose(within: .seconds(5)) == 4401)
        try await publish("JOB:42:x", "secret", on: server)
        #expect(other.got.isEmpty && !other.isClosed)
        try await server.command("DEL", "sess:session-of-42")
      }
    }
  }

  @Test("a full Redis keeps no socket from hearing, and marks never come twice")
  func memoryFull() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      let socket = try await attach("", cookie, to: gateway)
      try await server.command("CONFIG", "SET", "maxmemory", "1")
      try await pass(.seconds(3))
      try await publish("JOB:42:x", "1", "2", on: server)
      #expect(try await socket.waitFor(2) == ["1", "2"])
      let keep = try Paasbus.start(
        ["publish", "--keep", "--app", "shop", "JOB:42:x", "3"], on: server)
      #expect(try await keep.exitStatus() == 69, "\(keep.errorOutput)")
      try await server.command("CONFIG", "SET", "maxmemory", "0")
      try await pass(.seconds(2))
      try await publish("JOB:42:x", "4", on: server)
      #expect(try await socket.waitFor(3) == ["1", "2", "4"])
    }
  }

  @Test("a session that Redis removes when its time is over closes its sockets")
  func sessionExpires() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      try await server.command("PEXPIRE", "sess:session-of-42", "1500")
      let socket = try await attach("", cookie, to: gateway)
      #expect(try await socket.waitForClose(within: .seconds(10)) == 4401)
    }
  }

  @Test("without a session that holds there is no socket, whatever the cookie is")
  func refused() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let cookie = try await user("42", on: server)
      _ = try await session("anonymous", #""views":1"#, on: server)
      let wrong = SessionSecrets(["other"])?.cookie(for: SessionID("session-of-42")) ?? ""
      let anonymous = SessionSecrets([Self.secret])?.cookie(for: SessionID("anonymous")) ?? ""
      let missing = SessionSecrets([Self.secret])?.cookie(for: SessionID("nothing")) ?? ""
      for bad in [
        "", "session-of-42", "s%3Asession-of-42", "s%3Asession-of-42.", wrong, anonymous, missing,
        "\(cookie)x", String(cookie.dropLast()), "\(cookie)%3D", cookie.uppercased(),
      ] {
        for path in ["/relay/check", "/relay/events"] {
          #expect(
            try await gateway.ask(path, ["Cookie": "connect.sid=\(bad)"]).status == 401, "\(bad)")
        }
        #expect(try await connect("", bad, to: gateway).status == 401, "\(bad)")
      }
      #expect(try await gateway.ask("/relay/check").status == 401)
      #expect(
        try await gateway.ask("/relay/check", ["Cookie": "connect.sid=\(cookie)"]).status == 200)
      // The first of two of one name counts, as in the app.
      let two = "connect.sid=\(wrong); connect.sid=\(cookie)"
      #expect(try await gateway.ask("/relay/check", ["Cookie": two]).status == 401)
    }
  }

  @Test(
    "users whose names differ by what Unicode or a pattern takes for equal never hear each other")
  func names() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway(on: server)
      let names = [
        "*", "4?", "42", "[4]2", "\u{E9}", "e\u{301}", "__proto__", "a", "42 ", "\\u002a",
      ]
      var sockets: [(String, WebSocketClient)] = []
      for (index, name) in names.enumerated() {
        let json = name == "\\u002a" ? #""user":{"id":"\\u002a"}"# : #""user":{"id":"\#(name)"}"#
        let cookie = try await session("name-\(index)", json, on: server)
        sockets.append((name, try await attach("", cookie, to: gateway)))
      }
      // A name with the separator in it cannot be told from another one's job.
      for name in ["a:b", "a:\u{200D}b", ":"] {
        let cookie = try await session("bad", #""user":{"id":"\#(name)"}"#, on: server)
        #expect(try await connect("", cookie, to: gateway).status == 401)
      }
      for name in names { try await publish("JOB:\(name):x", "for \(name)", on: server) }
      try await publish("JOB:a:b:x", "for a, job b:x", on: server)
      try await server.cli(["PUBLISH", "JOB:\u{FFFD}:x", "x"])
      try await publish("job:42:x", "wrong", on: server)
      for (name, socket) in sockets {
        let expected = ["for \(name)"] + (name == "a" ? ["for a, job b:x"] : [])
        let got = try await socket.waitFor(expected.count)
        #expect(got.map { Array($0.utf8) } == expected.map { Array($0.utf8) }, "\(name)")
      }
    }
  }

  @Test("pages of other origins and hosts are refused, unless they are listed")
  func origins() async throws {
    try await RedisServer.with { server in
      let gateway = try await gateway("--origin", "https://shop.example.com", on: server)
      let cookie = try await user("42", on: server)
      func status(_ headers: [String: String]) async throws -> Int {
        let all = ["Cookie": "connect.sid=\(cookie)"].merging(headers) { $1 }
        let (check, socket) = (
          try await gateway.ask("/relay/check", all).status,
          try await connect("", cookie, to: gateway, headers).status
        )
        #expect(check == (socket == 101 ? 200 : socket), "\(headers)")
        return check
      }
      let own = "http://localhost:\(gateway.port)"
      #expect(try await status([:]) == 200)
      #expect(try await status(["Origin": own]) == 200)
      #expect(try await status(["Origin": "https://shop.example.com"]) == 200)
      for headers in [
        ["Origin": "https://evil.example"], ["Origin": "null"], ["Origin": ""],
        ["Origin": "https://shop.example.com.evil.example"], ["Origin": "http://shop.example.com"],
        ["Origin": "http://localhost"], ["Sec-Fetch-Site": "cross-site"],
        ["Sec-Fetch-Site": "same-site"], ["Sec-Fetch-Site": "none"],
      ] {
        #expect(try await status(headers) == 403, "\(headers)")
      }
      let shared = try await gateway.ask(
        "/relay/check", ["Origin": "https://shop.example.com", "Cookie": "connect.sid=\(cookie)"])
      #expect(shared["access-control-allow-origin"] == "https://shop.example.com")
      #expect(shared["access-control-allow-credentials"] == "true")
      #expect(
        try await gateway.ask("/relay/check", ["Origin": own])["access-control-allow-origin"] == nil
      )
      #expect(try await gateway.ask("/relay.js").text.contains("class Relay"))
      #expect(try await gateway.ask("/relay.js").body.count < 4000)
      #expect(try await gateway.ask("/relay").status == 426)
      #expect(try await gateway.ask("/relay", method: "POST", body: "x").status == 405)
      #expect(
        try await gateway.ask("/relay/check?since=x", ["Cookie": "connect.sid=\(cookie)"]).status
          == 400)
      let named = try await self.gateway("--host", "ops.example.com", "--no-login", on: server)
      #expect(try await named.ask("/relay/check", ["Host": "evil.example"]).status == 421)
      #expect(try await named.ask("/relay/check", ["Host": "ops.example.com"]).status == 401)
    }
  }

  @Test("secrets are rotated by SIGHUP, and the sockets stay")
  func rotation() async throws {
    try await RedisServer.with { server in
      let file = server.folder.appending(path: "secrets")
      func write(_ secrets: String) throws {
        try Data(secrets.utf8).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
      }
      try write("old\n")
      let gateway = try await gateway("--secret-file", file.path, on: server, environment: [:])
      let old = try await session("s", #""user":{"id":"42"}"#, on: server, secret: "old")
      let new = try await session("s", #""user":{"id":"42"}"#, on: server, secret: "new")
      let socket = try await attach("", old, to: gateway)
      #expect(try await connect("", new, to: gateway).status == 401)
      try write("\n")
      gateway.process.signal(SIGHUP)
      try await eventually("it says so") {
        gateway.process.errorOutput.contains("the secrets stay as they were")
      }
      try write("new\nold\n")
      gateway.process.signal(SIGHUP)
      try await eventually("both hold") { try await connect("", new, to: gateway).status == 101 }
      #expect(try await connect("", old, to: gateway).status == 101)
      try await publish("JOB:42:x", "1", on: server)
      #expect(try await socket.waitFor(1) == ["1"])
    }
  }

  @Test("an open socket prolongs its session only where that was asked for")
  func touch() async throws {
    try await RedisServer.with { server in
      let (plain, touching) = (
        try await gateway(on: server), try await gateway("--touch", on: server)
      )
      let (zoe, other) = (try await user("42", on: server), try await user("43", on: server))
      for name in ["42", "43"] {
        try await server.command("EXPIRE", "sess:session-of-\(name)", "300")
      }
      let sockets = (
        try await attach("", zoe, to: plain), try await attach("", other, to: touching)
      )
      try await eventually("it is prolonged", within: .seconds(60)) {
        try await server.command("TTL", "sess:session-of-43").integer ?? 0 > 3000
      }
      #expect(try await server.command("TTL", "sess:session-of-42").integer ?? 0 <= 300)
      withExtendedLifetime(sockets) {}
    }
  }

  // MARK: RFC 6455

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

  // MARK: Bounds

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
