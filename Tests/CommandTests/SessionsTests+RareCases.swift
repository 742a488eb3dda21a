import Foundation
import TestSupport
import Testing

@testable import ExpressSessions
@testable import paasbus

// Unusual words, outputs, connections and rights.
extension SessionsTests {
  @Test("whoever does not read the output does not keep a session from being watched")
  func unread() async throws {
    try await RedisServer.with { server in
      for output in ["| true", ">/dev/full", ">&-"] {
        try await put(Self.id, "", on: server)
        let shell = try ManagedProcess(
          "sh", ["-c", "\(Paasbus.path) sessions end \(Self.id) --watch 2s \(output)"],
          environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
        try await eventually("it is ended") {
          try await server.command("EXISTS", "sess:\(Self.id)") == .integer(0)
        }
        try await put(Self.id, "", on: server)
        _ = try await shell.exitStatus()
        #expect(try await server.command("EXISTS", "sess:\(Self.id)") == .integer(0), "\(output)")
      }
    }
  }

  @Test("a lost connection does not end the watch, and a lost server is told")
  func reconnects() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, "", on: server)
      let end = try Paasbus.start(["sessions", "end", Self.id, "--watch", "2s"], on: server)
      try await eventually("it is ended") { end.output.contains("ended") }
      try await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      try await put(Self.id, "", on: server)
      #expect(try await end.exitStatus() == 0, "\(end.errorOutput)")
      #expect(end.output.contains("came back once"))
      try await put(Self.id, "", on: server)
      let cut = try Paasbus.start(
        ["sessions", "end", Self.id, "--watch", "1s", "--json"], on: server)
      try await eventually("it is ended") {
        try await server.command("EXISTS", "sess:\(Self.id)") == .integer(0)
      }
      server.kill()
      #expect(try await cut.exitStatus() == 69)
      #expect(cut.errorOutput.contains("1 session ended, but not watched to the end"))
      #expect(cut.objects.count == 1 && cut.objects.first?["gone"] == nil)
    }
  }

  @Test("a name that begins with a hyphen is no option")
  func hyphens() async throws {
    try await RedisServer.with { server in
      for id in [
        "-hSVVd_abcdefghijklmnopq", "--help-abcdefghijklmnopqrstuvwxyz", "-qxyz-abcdefghijklmnopqr",
      ] {
        for name in [id, SessionID(id).short] {
          try await put(id, #","userId":-5"#, on: server)
          #expect(try await run("show", name, on: server).process.output.contains("-5 (userId)"))
          #expect(try await run("extend", name, "3h", on: server).status == 0)
          #expect(try await run("end", name, "--watch", "0s", on: server).status == 0)
          #expect(try await server.command("EXISTS", "sess:\(id)") == .integer(0))
        }
      }
      try await put(Self.id, #","userId":-5"#, on: server)
      #expect(
        try await run("list", "--user", "-5", "--json", on: server).process.objects.count == 1)
      #expect(
        SessionsCommand.arranged(["sessions", "end", "-q", "--", "-x"]) == [
          "sessions", "end", "-q", "--", "-x",
        ])
      #expect((0..<500).allSatisfy { _ in !SessionID.random().text.hasPrefix("-") })
    }
  }

  @Test(
    "a cookie is read in all the ways in which one copies it, and a broken one is told as such",
    arguments: [
      ("\(cookie)", true), (" \(cookie)\n", true), ("\"\(cookie)\"", true),
      ("connect.sid = \(cookie)", true), ("Cookie: a=b; connect.sid=\(cookie); c=d", true),
      ("a=b; \(cookie)", true), ("\(cookie); Path=/", true), ("connect.sid=\"\(cookie)\"", true),
      ("\(cookie)%3D", false), ("\(cookie.dropLast())", false), ("\(cookie)x", false),
      (cookie.replacing("s%3A", with: "s%253A"), false),
      (cookie.replacing("s%3A", with: "S%3A"), false),
      (cookie.replacing(".", with: "%zz"), false),
    ])
  func cookieForms(_ word: String, _ isFine: Bool) async throws {
    try await RedisServer.with { server in
      try await put(Self.id, #","userId":1"#, on: server)
      let (status, process) = try await run("show", word, on: server)
      #expect(status == (isFine ? 0 : 1), "\(process.errorOutput)")
      #expect(process.errorOutput.contains("is not signed") != isFine)
    }
  }

  @Test("a right cookie whose session is gone is told by the session's short form")
  func goneCookie() async throws {
    try await RedisServer.with { server in
      try await put("another-one-abcdefghijk", "", on: server)
      for words in [
        ["show", Self.cookie], ["end", Self.cookie, "--watch", "0s"],
        ["extend", Self.cookie, "1h"],
      ] {
        let process = try Paasbus.start(["sessions"] + words, on: server, environment: Self.secret)
        #expect(try await process.exitStatus() == 1)
        #expect(
          process.errorOutput.contains("there is no session VbH9u_~843cb473"),
          "\(process.errorOutput)")
      }
    }
  }

  @Test("an id shows nowhere, not even where the session or a mistake holds it")
  func hiddenIDs() async throws {
    try await RedisServer.with { server in
      try await put(
        Self.id, #","userId":"\#(Self.id)","\#(Self.id)":1,"pin":1234,"auth":{"a":1}"#, on: server)
      for words in [
        ["list"], ["list", "--json"], ["show", Self.id], ["show", "--json", Self.id],
        ["extend", "8h", "my-session-id"], ["show", "x", "a1234567890"],
        ["end", Self.id, "--watch", "0s"],
      ] {
        let process = try Paasbus.start(["sessions"] + words, on: server)
        _ = try await process.exitStatus()
        for hidden in [Self.id, "my-session-id", "a1234567890", "1234"] {
          #expect(
            !process.output.contains(hidden) && !process.errorOutput.contains(hidden), "\(words)")
        }
      }
    }
  }

  @Test("a session that nobody can be told of is not left behind")
  func untold() async throws {
    try await RedisServer.with { server in
      let shell = try ManagedProcess(
        "sh", ["-c", "echo 42 | \(Paasbus.path) sessions open >/dev/full"],
        environment: ManagedProcess.bareEnvironment.merging(
          ["PAASBUS_URL": server.url, "PAASBUS_SESSION_SECRET": "keyboard cat"]) { $1 })
      #expect(try await shell.exitStatus() == 1)
      #expect(try await server.command("DBSIZE") == .integer(0))
    }
  }

  @Test(
    "what is missing among the permissions is named with the prefix",
    .enabled(if: RedisServer.hasChannelPermissions, "this server has no users"))
  func missingPermissions() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, #","userId":1"#, prefix: "shop:", on: server)
      let all = [
        "+ping", "+scan", "+strlen", "+pttl", "+mget", "+get", "+set", "+del", "+time", "+eval",
        "+evalsha",
        "+script|load",
      ]
      for (missing, words) in [
        ("+get", ["extend", Self.id, "1h"]), ("+set", ["extend", Self.id, "1h"]),
        ("+del", ["end", "--user", "1"]), ("", ["list"]), ("+mget", ["list"]),
      ] {
        try await server.cli(
          ["ACL", "SETUSER", "few", "reset", "on", ">pw", missing.isEmpty ? "~other:*" : "~shop:*"]
            + all.filter { $0 != missing })
        let process = try Paasbus.start(
          ["sessions"] + words + [
            "--prefix", "shop:", "--url", "unix://few:pw@\(server.socketPath)",
          ])
        #expect(try await process.exitStatus() == 77, "\(words)")
        #expect(
          process.errorLines.count == 1 && process.errorOutput.contains("~shop:* +ping +scan"),
          "\(process.errorOutput)")
      }
      try await server.cli(["ACL", "SETUSER", "few", "reset", "on", ">pw", "~shop:*"] + all)
      for words in [
        ["list"], ["show", Self.id], ["extend", Self.id, "1h"],
        ["end", "--user", "1", "--watch", "0s"],
      ] {
        let process = try Paasbus.start(
          ["sessions"] + words + [
            "--prefix", "shop:", "--url", "unix://few:pw@\(server.socketPath)",
          ])
        #expect(try await process.exitStatus() == 0, "\(process.errorOutput)")
      }
    }
  }

  @Test("several secrets may stand in the variable, and a pipe without a writer is not waited for")
  func moreSecrets() async throws {
    try await RedisServer.with { server in
      try await put(Self.id, "", on: server)
      let (_, process) = try await run(
        "show", Self.cookie, on: server,
        environment: ["PAASBUS_SESSION_SECRET": "new\nkeyboard cat"])
      #expect(process.output.contains("secret 2 of 2"))
      let file = server.folder.appending(path: "marked").path
      try Data("\u{FEFF}keyboard cat\n".utf8).write(to: URL(filePath: file))
      let (status, marked) = try await run("show", Self.cookie, "--secret-file", file, on: server)
      #expect(status == 78 && marked.errorOutput.contains("byte order mark"))
      let pipe = server.folder.appending(path: "pipe").path
      #expect(mkfifo(pipe, 0o600) == 0)
      let (empty, silent) = try await run("show", Self.cookie, "--secret-file", pipe, on: server)
      #expect(empty == 78 && silent.errorLines.count == 1, "\(silent.errorOutput)")
    }
  }
}
