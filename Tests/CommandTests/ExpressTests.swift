import Foundation
import TestSupport
import Testing

@Suite("The sessions of a real Express app", .enabled(if: ExpressApp.isPossible, "no Express here"))
struct ExpressTests {
  private static let secret = ["PAASBUS_SESSION_SECRET": "keyboard cat"]

  private func sessions(
    _ words: String..., on server: RedisServer, input: String? = nil
  ) async throws -> ManagedProcess {
    let process = try Paasbus.start(
      ["sessions"] + words, on: server, environment: Self.secret, input: input)
    _ = try await process.exitStatus()
    return process
  }

  @Test("a user stays logged in when an instance stops, until an operator ends the session")
  func story() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let first = try await ExpressApp.start("web.1", on: server)
      let second = try await ExpressApp.start("web.2", on: server)
      _ = try await watch.waitFor("start", count: 2)
      let cookie = try await first.logIn("42")
      #expect(try await first.says("/", cookie: cookie) == "42, visit 1")
      first.process.signal(SIGTERM)
      let stop = try await watch.waitFor("stop")
      #expect(stop.first?["name"] == .string("web.1") && stop.first?["exit"] == .number(0))
      #expect(try await second.says("/", cookie: cookie) == "42, visit 2")

      let list = try await sessions("list", on: server)
      #expect(
        list.output.contains("42 ")
          && list.output.hasSuffix("1 logged in, 0 anonymous, 0 without expiry, 0 unreadable\n"))
      let show = try await sessions("show", cookie, on: server)
      #expect(show.output.contains("42 (user.id)") && show.output.contains("secret 1 of 1"))
      #expect(show.output.contains(#""token": "***""#), "\(show.output)")
      #expect(!show.output.contains("let nobody"))

      let end = try await sessions("end", "--user", "42", "--watch", "0s", on: server)
      #expect(try await end.exitStatus() == 0)
      #expect(try await second.says("/me", cookie: cookie) == "nobody")
    }
  }

  @Test("a request that is under way brings a session back, which is ended again")
  func comesBack() async throws {
    try await RedisServer.with { server in
      let app = try await ExpressApp.start("web.1", on: server)
      let cookie = try await app.logIn("42")
      let other = try await app.logIn("43")
      let slow = Task { try await app.says("/slow", cookie: cookie) }
      try await eventually("it is under way") { try await app.says("/waiting") == "1" }
      let end = try Paasbus.start(
        ["sessions", "end", "--user", "42", "--watch", "2s"], on: server, environment: Self.secret)
      try await eventually("it is ended") { end.output.contains("ended ") }
      _ = try await app.says("/finish")
      #expect(try await slow.value == "42, done")
      #expect(try await end.exitStatus() == 0)
      #expect(end.output.contains("came back once and was ended again"), "\(end.output)")
      #expect(try await app.says("/me", cookie: cookie) == "nobody")
      #expect(try await app.says("/me", cookie: other) == "43")
    }
  }

  @Test("a session that is opened is one that the app accepts, and what is written never breaks it")
  func written() async throws {
    try await RedisServer.with { server in
      let app = try await ExpressApp.start("web.1", on: server)
      for user in [#"{"user":{"id":"42"}}"#, #"{"id":"42","name":"Z"}"#, #""42""#] {
        let open = try await sessions("open", "--max-age", "10m", on: server, input: user)
        let cookie = open.output.trimmingCharacters(in: .newlines)
        #expect(try await app.says("/", cookie: cookie) == "42, visit 1", "\(open.errorOutput)")
        let extend = try await sessions("extend", cookie, "8h", on: server)
        #expect(extend.output.contains("lasts 8h 0m"), "\(extend.errorOutput)")
        // The app's next request keeps it, and so does one that changes the session.
        #expect(try await app.says("/me", cookie: cookie) == "42")
        #expect(try await app.says("/", cookie: cookie) == "42, visit 2")
      }
      let list = try await sessions("list", "--json", on: server)
      #expect(list.objects.count == 3)
      for row in list.objects {
        #expect((28_700_000...28_800_000).contains(row["left"]?.integer ?? 0))
        #expect(row["maxAge"] == .number(28_800_000) && row["kind"] == .string("logged-in"))
      }
    }
  }

  @Test("a secret is rotated without a log-out")
  func rotation() async throws {
    try await RedisServer.with { server in
      let old = try await ExpressApp.start("web.1", on: server, secrets: "old")
      let cookie = try await old.logIn("42")
      let new = try await ExpressApp.start("web.2", on: server, secrets: "new\nold")
      #expect(try await new.says("/me", cookie: cookie) == "42")
      let file = server.folder.appending(path: "secrets")
      try Data("new\nold\n".utf8).write(to: file)
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
      let show = try await sessions("show", cookie, "--secret-file", file.path, on: server)
      #expect(
        show.output.contains("secret 2 of 2") && show.errorOutput.isEmpty, "\(show.errorOutput)")
      let open = try await sessions("open", "--secret-file", file.path, on: server, input: "7")
      let own = open.output.trimmingCharacters(in: .newlines)
      #expect(try await new.says("/me", cookie: own) == "7")
      #expect(try await old.says("/me", cookie: own) == "nobody")
    }
  }
}
