import ExpressSessions
import Foundation
import TestSupport
import Testing

// Who may listen.
extension RelayTests {
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
}
