import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import ExpressSessions
@testable import paasbus

@Suite("The sessions command")
struct SessionsTests {
  static let id = "VbH9u_-0Kc3xTqQ1s8mZ7yPpLw2dNe4R"
  static let cookie =
    "s%3A\(id).enCHhIqBs6PknlJkQuKX4UnHz9khr2eHzKOFGpZf4bw"
  static let secret = ["PAASBUS_SESSION_SECRET": "keyboard cat"]

  func run(
    _ words: String..., on server: RedisServer, environment: [String: String] = secret,
    input: String? = nil
  ) async throws -> (status: Int32, process: ManagedProcess) {
    let process = try Paasbus.start(
      ["sessions"] + words, on: server, environment: environment, input: input)
    return (try await process.exitStatus(), process)
  }

  func put(
    _ id: String, _ members: String, seconds: Int? = 86_400, prefix: String = "sess:",
    on server: RedisServer
  ) async throws {
    let json = #"{"cookie":{"originalMaxAge":3600000,"path":"/"}\#(members)}"#
    let words = ["SET", prefix + id, json] + (seconds.map { ["EX", "\($0)"] } ?? [])
    #expect(try await server.cli(words) == "OK\n")
  }

  /// Writes a session again and again until it is cancelled, on an open connection, so that it gets between any
  /// two commands.
  func rewriting(_ members: String, on server: RedisServer) -> Task<Void, any Error> {
    Task {
      try await server.connector.withConnection { connection in
        for number in 0... {
          try Task.checkCancellation()
          let json = #"{"cookie":{},"n":\#(number),\#(members)}"#
          _ = try await connection.send(RedisCommand("SET", "sess:\(Self.id)", json))
        }
      }
    }
  }

  @Test("all sessions are listed, whatever is under the prefix, and no id is shown whole")
  func list() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, #","user":{"id":"ü*?[1]"}"#, on: server)
      try await put("anonymous-1234567890-abc", "", seconds: nil, on: server)
      try await put("passport-1234567890-abcd", #","passport":{"user":7}"#, seconds: 30, on: server)
      try await put("other", #","user":{"id":"x"}"#, prefix: "shop:sess:", on: server)
      try await server.command("LPUSH", "sess:a-list-1234567890", "1")
      try await server.command("SET", "sess:no-cookie-1234567", #"{"user":{"id":"7"}}"#)
      try await server.command(
        "SET", "sess:large-1234567890", String(repeating: "x", count: 2_097_152))
      try await server.cli(["-x", "SET", "sess:bytes-1234567890"], input: [0xFF, 0xFE])
      try await server.command(
        "SET", "sess:deep-1234567890", String(repeating: "[", count: 10_000))
      let (status, text) = try await run("list", on: server)
      #expect(status == 0)
      #expect(
        text.lines.last == "2 logged in, 1 anonymous, 6 without expiry, 5 unreadable",
        "\(text.output)")
      #expect(
        text.lines.first
          == "SESSION          USER                               LEFT     MAX AGE  SIZE")
      for part in [
        "VbH9u_~843cb473  ü*?[1] ", "(unreadable: larger than 256 KiB)", "2.0 MB",
        "(unreadable: not a string)",
      ] {
        #expect(text.output.contains(part), "\(part) in \(text.output)")
      }
      let (_, json) = try await run("list", "--json", on: server)
      #expect(json.objects.count == 8 && json.lines.count == 8)
      #expect(json.errorLines == ["2 logged in, 1 anonymous, 6 without expiry, 5 unreadable"])
      let row = json.objects.first { $0["user"] == .string("ü*?[1]") }
      #expect(row?["session"] == .string("VbH9u_~843cb473") && row?["kind"] == .string("logged-in"))
      #expect(row?["size"] == .number(72) && row?["maxAge"] == .number(3_600_000))
      #expect((row?["left"]?.integer ?? 0) > 86_000_000)
      for output in [text.output, json.output] { #expect(!output.contains("1234567890")) }

      let (_, users) = try await run("list", "--user", "7", on: server)
      #expect(users.lines.last == "1 logged in, 0 anonymous, 0 without expiry, 0 unreadable")
      let (_, anonymous) = try await run("list", "--anonymous", "--json", on: server)
      #expect(anonymous.objects.map { $0["kind"] } == [.string("anonymous")])
      let (_, expiring) = try await run("list", "--expiring", "1m", "--json", on: server)
      #expect(expiring.objects.map { $0["user"] } == [.string("7")])
      let (found, nobody) = try await run("list", "--user", "nobody", on: server)
      #expect(found == 0 && nobody.output == "no sessions match\n")
      let (_, shop) = try await run("list", "--prefix", "shop:sess:", on: server)
      #expect(shop.lines.last == "1 logged in, 0 anonymous, 0 without expiry, 0 unreadable")
    }
  }

  @Test("where no session is, the remedy is named")
  func nothing() async throws {
    try await RedisServer.with { server in
      try await server.command("SET", "other", "1")
      for words in [
        ["list"], ["end", "--user", "42"], ["end", "--all", "--yes"], ["show", "abc"],
        ["extend", "abc", "1h"],
      ] {
        let process = try Paasbus.start(["sessions"] + words, on: server)
        #expect(try await process.exitStatus() == 78)
        #expect(
          process.errorOutput == """
            paasbus: no key begins with 'sess:' in this database: check --prefix and the database in the URL; \
            an app with cookie-session keeps no sessions in Redis

            """)
      }
    }
  }

  @Test("a session is shown by its id, its key, its short form or its cookie, without its secrets")
  func show() async throws {
    try await RedisServer.with { server in
      let members =
        #","user":{"id":42,"Password":"p1","api_key":"p2"},"x":{"refreshToken":["p3"]},"note":"\#(Self.id)","e":"\#u{9b}31m\#u{202E}""#
      try await put(Self.id, members, on: server)
      for word in [
        Self.id, "sess:\(Self.id)", "VbH9u_~843cb473", Self.cookie, "connect.sid=\(Self.cookie)",
      ] {
        let (status, process) = try await run("show", word, on: server)
        #expect(status == 0, "\(process.errorOutput)")
        #expect(process.output.contains("42 (user.id)"))
        for hidden in ["p1", "p2", "p3", Self.id, "\u{9b}", "\u{202E}"] {
          #expect(!process.output.contains(hidden), "\(hidden)")
        }
        #expect(process.output.contains("secret 1 of 1") == word.hasSuffix(Self.cookie))
      }
      let (_, json) = try await run("show", "--json", Self.cookie, on: server)
      #expect(json.objects.first?["secret"] == .number(1) && json.lines.count == 1)
      #expect(json.objects.first?["content"] != nil && !json.output.contains("p1"))
      let (_, whole) = try await run("show", "--reveal", Self.id, on: server)
      for shown in ["p1", "p2", "p3", "session    \(Self.id)"] {
        #expect(whole.output.contains(shown), "\(whole.output)")
      }
    }
  }

  @Test("ids with all characters that globs and terminals know are found, and only they")
  func strangeIDs() async throws {
    try await RedisServer.with { server in
      let ids = [
        "*", "a*b?c[d]e^f\\g-hijkl", "zoë/東京 +=;%41", "s:abc", "\u{1b}]0;x\u{7}bcdefghij", "é",
        "e\u{301}",
      ]
      for id in ids { try await put(id, #","user":{"id":"u"}"#, on: server) }
      try await put("axbxcdexf-other", #","user":{"id":"v"}"#, on: server)
      let (_, list) = try await run("list", "--user", "u", "--json", on: server)
      #expect(list.objects.count == ids.count && !list.output.contains("\u{1b}"))
      for row in list.objects {
        let (status, _) = try await run("show", row["session"]?.text ?? "", on: server)
        // What a terminal would act on is written as an escape, in the short form too.
        #expect(status == 0, "\(row)")
      }
      let (status, _) = try await run("end", "--watch", "0s", "--", "*", on: server)
      #expect(status == 0)
      #expect(try await server.command("DBSIZE") == .integer(7))
      let (all, _) = try await run("end", "--watch", "0s", "--user", "u", on: server)
      #expect(all == 0)
      #expect(try await server.command("DBSIZE") == .integer(1))
    }
  }

  @Test("a prefix with characters that globs know is taken as it is")
  func strangePrefix() async throws {
    try await RedisServer.with { server in
      try await put("1", "", prefix: "a[b]*?\\:", on: server)
      try await put("2", "", prefix: "ab-more:", on: server)
      let (_, list) = try await run("list", "--prefix", "a[b]*?\\:", "--json", on: server)
      #expect(list.objects.count == 1)
      let (_, all) = try await run("list", "--prefix", "", "--json", on: server)
      #expect(all.objects.count == 2)
    }
  }

  @Test("sessions are ended, by name, by user and all, and what is no session stays")
  func end() async throws {
    try await RedisServer.with { server in
      for number in 0..<3 {
        try await put("session-of-forty-two-\(number)", #","user":{"id":"42"}"#, on: server)
      }
      for number in 0..<3 {
        try await put("session-of-the-other-\(number)", #","user":{"id":"43"}"#, on: server)
      }
      try await server.command("SET", "sess:foreign", "no session")
      let (one, byName) = try await run(
        "end", "session-of-forty-two-0", "--watch", "0s", on: server)
      #expect(one == 0 && byName.lines.count == 1 && byName.output.contains("of the user 42"))
      let (two, byUser) = try await run(
        "end", "--user", "42", "--watch", "0s", "--json", on: server)
      #expect(two == 0 && byUser.objects.count == 2)
      for row in byUser.objects {
        #expect(
          row["user"] == .string("42") && row["gone"] == .bool(true) && row["returns"] == .number(0)
        )
      }
      let (none, again) = try await run("end", "--user", "42", "--watch", "0s", on: server)
      #expect(none == 0 && again.output == "there was no session to end\n")
      let (missing, named) = try await run(
        "end", "nothing-of-that-name", "session-of-the-other-0", "--watch", "0s", on: server)
      #expect(missing == 1 && named.output.contains("ended ") && named.errorLines.count == 1)
      #expect(!named.errorOutput.contains("nothing-of-that-name"))
      let (unasked, ask) = try await run("end", "--all", on: server)
      #expect(unasked == 64 && ask.errorOutput.contains("--yes"))
      let (all, allEnded) = try await run("end", "--all", "--yes", "--watch", "0s", on: server)
      #expect(all == 0 && allEnded.output == "ended 2 sessions\n")
      #expect(try await server.command("KEYS", "*").elements.map(\.string) == ["sess:foreign"])
    }
  }

  @Test("a session that a program writes again and again is ended each time, and told as there")
  func rewritten() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, #","user":{"id":"42"}"#, on: server)
      let writer = rewriting(#""user":{"id":"42"}"#, on: server)
      defer { writer.cancel() }
      let (status, process) = try await run("end", "--user", "42", "--watch", "1s", on: server)
      #expect(status == 1)
      #expect(process.output.contains("times and was ended again"), "\(process.output)")
      #expect(process.errorOutput.contains("1 session came back at the end"))
    }
  }

  @Test("a session that is another user's by now is not ended")
  func otherUser() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, #","user":{"id":"42"}"#, on: server)
      let end = try Paasbus.start(["sessions", "end", "--user", "42", "--watch", "1s"], on: server)
      try await eventually("it is ended") { end.output.contains("ended") }
      try await put(Self.id, #","user":{"id":"43"}"#, on: server)
      #expect(try await end.exitStatus() == 0)
      #expect(try await server.command("EXISTS", "sess:\(Self.id)") == .integer(1))
      #expect(!end.output.contains("came back"))
    }
  }

  @Test("a session is extended, one without an expiry keeps none, and others are left alone")
  func extend() async throws {
    try await RedisServer.with { server in
      try await put("a-session-that-ends", "", on: server)
      try await put("a-session-that-stays", "", seconds: nil, on: server)
      try await server.command("SET", "sess:unreadable-thing", "x")
      let (status, process) = try await run(
        "extend", "a-session-that-ends", "2h", "--json", on: server)
      #expect(status == 0 && process.objects.first?["left"] == .number(7_200_000))
      #expect(process.errorOutput.contains("may undo this"))
      #expect(
        (7190...7200).contains(
          try await server.command("TTL", "sess:a-session-that-ends").integer ?? 0))
      let (_, endless) = try await run("extend", "a-session-that-stays", "2h", on: server)
      #expect(endless.output.contains("does not end"))
      #expect(try await server.command("TTL", "sess:a-session-that-stays") == .integer(-1))
      let value = try await server.command("GET", "sess:a-session-that-stays").string ?? ""
      #expect(value.hasPrefix(#"{"cookie":{"originalMaxAge":7200000,"path":"/","expires":"20"#))
      let (bad, unreadable) = try await run("extend", "unreadable-thing", "2h", on: server)
      #expect(bad == 1 && unreadable.errorOutput.contains("cannot be changed: not JSON"))
      #expect(try await server.command("GET", "sess:unreadable-thing").string == "x")
    }
  }

  @Test("an app that rewrites a session all the time is told after five tries")
  func contention() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, "", on: server)
      let store = SessionStore(connector: server.connector)
      let writer = rewriting(#""a":1"#, on: server)
      defer { writer.cancel() }
      await #expect(throws: SessionError.keepsChanging) {
        // One attempt may win by chance, but not a hundred.
        for _ in 0..<100 { _ = try await store.extend(SessionID(Self.id), to: .seconds(60)) }
      }
    }
  }

  @Test("a session is opened only for a user, for a day at most, and with a secret")
  func open() async throws {
    try await RedisServer.with { server in
      let (_, process) = try await run(
        "open", "--json", "--max-age", "90s", on: server,
        input: #"{"user":{"id":"42"},"a":"\u00e9"}"#)
      let row = try #require(process.objects.first)
      let verified = SessionSecrets(["keyboard cat"])?.verify(row["cookie"]?.text ?? "")
      let id = try #require(verified?.id)
      #expect(
        row["session"] == .string(id.short) && row["user"] == .string("42")
          && row["path"] == .string("user.id"))
      #expect((60...90).contains(try await server.command("TTL", "sess:\(id.text)").integer ?? 0))
      let value = try await server.command("GET", "sess:\(id.text)").string ?? ""
      #expect(value.contains(#""user":{"id":"42"},"a":"\u00e9","paasbus":{"opened":"#), "\(value)")
      for (input, words, status, text) in [
        (#"{"user":{"id":"42"},"cookie":{}}"#, [], 64, "would hold a member cookie"),
        (#"{"paasbus":1,"userId":2}"#, [], 64, "would hold a member paasbus"),
        ("42", ["--user-path", "cookie.id"], 64, "would hold a member cookie"),
        ("{", [], 64, "is not JSON"),
        ("", [], 64, "is not JSON"), ("{}", [], 64, "names no user"),
        ("null", [], 64, "names no user"),
        (String(repeating: "[", count: 10_000), [], 64, "nested too deep"),
        ("\"\(String(repeating: "x", count: 2_097_152))\"", [], 64, "larger than 256 KiB"),
        ("42", ["--max-age", "25h"], 64, "between 1s and 24h"),
        ("42", ["--max-age", "0s"], 64, "between"),
      ] as [(String, [String], Int32, String)] {
        let process = try Paasbus.start(
          ["sessions", "open"] + words, on: server, environment: Self.secret, input: input)
        #expect(try await process.exitStatus() == status)
        #expect(
          process.errorLines.count == 1 && process.errorOutput.contains(text),
          "\(process.errorOutput)")
      }
      #expect(try await server.command("DBSIZE") == .integer(1))
    }
  }

  @Test("what is wrong with the secrets is said, and no secret is repeated")
  func secrets() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, #","user":{"id":"42"}"#, on: server)
      func file(_ content: String, _ mode: Int = 0o600) throws -> String {
        let file = server.folder.appending(path: UUID().uuidString)
        try Data(content.utf8).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path)
        return file.path
      }
      for (path, text) in [
        (try file("keyboard cat\n\nold\n"), "line 2 of the file of --secret-file is empty"),
        (try file(""), "the file of --secret-file is empty"), (try file("\n"), "line 1"),
        (try file(String(repeating: "x", count: 70_000)), "larger than 64 KiB"),
        ("hunter2", "cannot be read (No such file"),
        (server.folder.path, "cannot be read (Is a directory"),
        ("a very long secret that somebody put here by mistake", "cannot be read"),
      ] {
        let (status, process) = try await run(
          "show", Self.cookie, "--secret-file", path, on: server)
        #expect(status == 78 && process.errorLines.count == 1, "\(process.errorOutput)")
        #expect(
          process.errorOutput.contains(text) && !process.errorOutput.contains(path),
          "\(process.errorOutput)")
      }
      let (fine, open) = try await run(
        "show", Self.cookie, "--secret-file", try file("new\r\nkeyboard cat", 0o644), on: server)
      #expect(fine == 0 && open.output.contains("secret 2 of 2"))
      #expect(open.errorLines.count == 1 && open.errorOutput.contains("chmod o-r"))
      let (missing, none) = try await run("show", Self.cookie, on: server, environment: [:])
      #expect(missing == 78 && none.errorOutput.contains("PAASBUS_SESSION_SECRET"))
      let (empty, blank) = try await run(
        "show", Self.cookie, on: server, environment: ["PAASBUS_SESSION_SECRET": " \n"])
      #expect(empty == 78 && blank.errorLines.count == 1)
      let (wrong, other) = try await run(
        "show", Self.cookie, on: server, environment: ["PAASBUS_SESSION_SECRET": "other"])
      #expect(wrong == 1 && other.errorOutput.contains("is not signed with the secret"))
      for output in [none, blank, other] { #expect(!output.errorOutput.contains(Self.id)) }
    }
  }

  @Test("a command line that says nothing sensible is refused")
  func usage() async throws {
    try await RedisServer.with { server in
      for words in [
        ["end"], ["end", "a", "--user", "b"], ["end", "--user", "b", "--all"],
        ["end", "--all", "--yes", "--prefix", ""], ["list", "--user", "a", "--anonymous"],
        ["list", "--user-path", "a..b"], ["list", "--user-path", "__proto__.id"],
        ["extend", "a", "0s"],
        ["extend", "a"], ["show"], ["lst"], ["list", "--expiring", "x"],
      ] {
        let process = try Paasbus.start(["sessions"] + words, on: server)
        #expect(try await process.exitStatus() == 64, "\(words)")
        #expect(process.errorLines.count == 1, "\(process.errorOutput)")
      }
      let mistyped = try Paasbus.start(["sessions", "lst"], on: server)
      _ = try await mistyped.exitStatus()
      #expect(mistyped.errorOutput.contains("Did you mean 'list'?"), "\(mistyped.errorOutput)")
    }
  }

  @Test(
    "a user who may not scan is told so",
    .enabled(if: RedisServer.hasChannelPermissions, "this server has no users"))
  func permissions() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, "", on: server)
      try await server.cli("ACL", "SETUSER", "few", "on", ">pw", "~sess:*", "+@all", "-scan")
      let process = try Paasbus.start(
        "sessions", "list", "--url", "unix://few:pw@\(server.socketPath)")
      #expect(try await process.exitStatus() == 77)
      #expect(
        process.errorLines.count == 1 && process.errorOutput.contains("scan"),
        "\(process.errorOutput)")
      // What the page of the docs says is enough.
      try await server.cli(
        "ACL", "SETUSER", "some", "on", ">pw", "~sess:*", "+ping", "+scan", "+strlen", "+pttl",
        "+mget")
      let enough = try Paasbus.start(
        "sessions", "list", "--url", "unix://some:pw@\(server.socketPath)")
      #expect(try await enough.exitStatus() == 0, "\(enough.errorOutput)")
    }
  }

  @Test("in a cluster, the sessions of all nodes are found, changed and ended")
  func cluster() async throws {
    try await RedisCluster.with { cluster in
      let url = "redis://127.0.0.1:\(cluster.nodes[0].port ?? 0)"
      func run(_ words: String..., input: String? = nil) async throws -> ManagedProcess {
        let process = try Paasbus.start(
          ["sessions"] + words + ["--url", url], environment: Self.secret, input: input)
        #expect(try await process.exitStatus() == 0, "\(process.errorOutput)")
        return process
      }
      var cookies: [String] = []
      for user in 0..<8 {
        cookies.append(
          try await run("open", input: "\(user)").output.trimmingCharacters(in: .newlines))
      }
      #expect(try await run("list", "--json").objects.count == 8)
      for cookie in cookies {
        #expect(try await run("extend", cookie, "2h").output.contains("lasts 2h"))
        #expect(try await run("show", cookie).output.contains("max age    2h 0m"))
      }
      #expect(try await run("end", "--user", "3", "--watch", "0s").output.contains("of the user 3"))
      #expect(try await run("end", cookies[5], cookies[6], "--watch", "0s").lines.count == 2)
      #expect(try await run("list", "--json").objects.count == 5)
      #expect(
        try await run("end", "--all", "--yes", "--watch", "200ms").output == "ended 5 sessions\n")
    }
  }

  @Test("more sessions than are sorted come once each, in one table")
  func many() async throws {
    try await RedisServer.with { server in
      let script = """
        for n = 1, 5000 do
          redis.call('SET', 'sess:a-session-with-number-' .. n, '{"cookie":{},"userId":' .. n .. '}', 'EX', 1000)
        end
        """
      try await server.command("EVAL", script, "0")
      let (_, json) = try await run("list", "--json", on: server)
      #expect(Set(json.objects.compactMap { $0["user"]?.text }).count == 5000)
      #expect(json.lines.count == 5000)
      let (_, text) = try await run("list", on: server)
      #expect(text.lines.count == 5002 && text.lines.count { $0.hasPrefix("SESSION") } == 1)
    }
  }
}
