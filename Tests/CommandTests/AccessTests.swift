import Foundation
import TestSupport
import Testing

@Suite("Users with few permissions")
struct AccessTests {
  /// The commands that paasbus uses, as the page on connecting states them.
  static let words = [
    "+time", "+exists", "+type", "+hmget", "+hexists", "+hget", "+hset", "+hdel", "+hgetall",
    "+zadd", "+zrem", "+zscore", "+zrange", "+zrangebyscore", "+zremrangebyscore", "+xadd",
    "+xinfo|stream", "+xrange", "+xrevrange", "+expire", "+script|load", "+evalsha",
    "+publish", "+subscribe", "+ping", "+multi", "+exec", "+client|setname",
    "+client|list",
  ]

  private func user(_ server: RedisServer, without missing: String? = nil) async throws -> String {
    let words = Self.words.filter { $0 != missing }
    let rights = ["on", ">pw", "resetkeys", "resetchannels", "-@all"]
    let keys = missing == "~paasbus:*" ? [] : ["~paasbus:*"]
    let channels = missing == "&instances" ? [] : ["&instances"]
    try await server.cli(["ACL", "SETUSER", "few"] + rights + keys + channels + words)
    return "unix://few:pw@\(server.socketPath)"
  }

  @Test("with just what is documented everything works")
  func enough() async throws {
    try await RedisServer.with { server in
      let url = try await user(server)
      let watch = try Paasbus.start("watch", "--json", "--url", url)
      try await eventually("it watches: \(watch.errorOutput)") {
        watch.errorOutput.contains("waiting")
      }
      let announce = try Paasbus.start("announce", "--lease", "2s", "--url", url)
      _ = try await watch.waitFor("start")
      let bus = Bus(on: server)
      let lists = try await bus.calls("client|list")
      try await eventually("connections are looked at") {
        try await bus.calls("client|list") > lists + 4
      }
      try await pass(.seconds(3))
      let list = try Paasbus.start("list", "--url", url)
      #expect(try await list.exitStatus() == 0 && list.output.contains("1 up"))
      for words in [["history", "--since", "1h", "--chart"], ["wait", "--timeout", "10s"]] {
        let process = try Paasbus.start(words + ["--url", url])
        #expect(try await process.exitStatus() == 0, "\(words) \(process.errorOutput)")
      }
      let doctor = try Paasbus.start("doctor", "--url", url)
      #expect(try await doctor.exitStatus() == 0, "\(doctor.output)")
      #expect(doctor.output.contains("complete, including scripts"))
      announce.signal(SIGTERM)
      #expect(try await announce.exitStatus() == 0)
      _ = try await watch.waitFor("stop")
      #expect(announce.errorLines.count == 1 && watch.lines.count == 2, "\(watch.output)")
    }
  }

  @Test("a user who may not choose the database is refused, not led to another one")
  func database() async throws {
    try await RedisServer.with { server in
      let url = try await user(server) + "?db=1"
      for (command, status) in [("list", 77), ("announce", 77), ("doctor", 1)] as [(String, Int32)]
      {
        let process = try Paasbus.start(command, "--url", url)
        #expect(try await process.exitStatus() == status, "\(process.output)")
        let told = process.output + process.errorOutput
        #expect(told.lowercased().contains("select"), "\(told)")
      }
      try await server.cli(["ACL", "SETUSER", "few", "+select"])
      let list = try Paasbus.start("list", "--url", url)
      #expect(try await list.exitStatus() == 0, "\(list.errorOutput)")
    }
  }

  @Test("each that is missing is named by the doctor, and by what fails for it")
  func missing() async throws {
    try await RedisServer.with { server in
      for word in ["~paasbus:*", "&instances"] + Self.words {
        let url = try await user(server, without: word)
        let doctor = try Paasbus.start("doctor", "--url", url)
        _ = try await doctor.exitStatus()
        #expect(doctor.output.contains(word), "\(word): \(doctor.output)")
        // What is refused on connecting or registering ends it at once, and says what it was.
        let announce = try Paasbus.start("announce", "--name", "w", "--url", url)
        try await eventually("it is announced or refused") {
          !announce.isRunning || announce.errorOutput.contains("announced ")
        }
        if announce.isRunning {
          announce.signal(SIGTERM)
          _ = try await announce.exitStatus()
        } else {
          #expect(try await announce.exitStatus() == 77, "\(word)")
          let name = word.dropFirst().split(whereSeparator: { "|:".contains($0) }).first ?? ""
          #expect(
            announce.errorOutput.lowercased().contains(name) || word.hasPrefix("&"),
            "\(word): \(announce.errorOutput)")
        }
        try await server.command("FLUSHALL")
      }
    }
  }

  @Test("what the doctor says is missing is all that is missing, from the first question on")
  func oneRemedy() async throws {
    try await RedisServer.with { server in
      for rights in [
        [], ["+ping"], ["+ping", "+subscribe", "+@read", "+multi", "+exec"],
        ["~*", "&*", "+@all", "-publish"], ["~*", "&*", "+@all", "-subscribe"],
        ["~*", "&*", "+@all", "-multi"], ["~*", "&*", "+@all", "-zadd", "-xrange"],
      ] {
        try await server.cli(
          ["ACL", "SETUSER", "few", "reset", "on", ">pw", "resetchannels"] + rights)
        let url = "unix://few:pw@\(server.socketPath)"
        let first = try Paasbus.start("doctor", "--url", url)
        #expect(try await first.exitStatus() == 1)
        #expect(!first.output.contains("paasbus doctor"), "\(first.output)")
        // As it is read: each command for itself, and the patterns for a user who has not all.
        for part in first.output.split(separator: "ACL SETUSER few ").dropFirst() {
          let words = part.split { $0 == " " || $0 == "," || $0 == "\n" }
            .prefix { "+~&".contains($0.first ?? "x") }.map(String.init)
          let hasAll =
            rights.contains("~*") && words.contains { $0.hasPrefix("~") || $0.hasPrefix("&") }
          guard !hasAll else { continue }
          let reply = try await server.cli(["ACL", "SETUSER", "few"] + words)
          #expect(reply == "OK\n", "\(words): \(reply)")
        }
        let second = try Paasbus.start("doctor", "--url", url)
        _ = try await second.exitStatus()
        #expect(
          !second.lines.contains { $0.hasPrefix("fail") }, "\(rights): \(second.output)")
      }
    }
  }

  @Test("a channel that is refused is not told as a command that is")
  func channelRefused() async throws {
    try await RedisServer.with { server in
      try await server.cli(
        "ACL", "SETUSER", "few", "on", ">pw", "~*", "resetchannels", "+@all")
      let url = "unix://few:pw@\(server.socketPath)"
      let announce = try Paasbus.start("announce", "--url", url)
      #expect(try await announce.exitStatus() == 77)
      #expect(announce.errorOutput.contains("&CHANNEL"), "\(announce.errorOutput)")
      for wrong in ["+publish", "script: "] {
        #expect(!announce.errorOutput.contains(wrong), "\(announce.errorOutput)")
      }
    }
  }

  @Test("a user of one app's keys alone is warned that readers need --app, and of nothing else")
  func oneApp() async throws {
    try await RedisServer.with { server in
      try await server.cli(
        "ACL", "SETUSER", "few", "on", ">pw", "resetkeys", "~paasbus:{shop}:*",
        "resetchannels", "&instances", "+@all")
      let url = "unix://few:pw@\(server.socketPath)"
      _ = try Paasbus.start("announce", "--app", "shop", "--url", url)
      let doctor = try Paasbus.start("doctor", "--app", "shop", "--url", url)
      #expect(try await doctor.exitStatus() == 0, "\(doctor.output)")
      #expect(
        doctor.output.contains("missing ~paasbus:apps (readers need --app)"), "\(doctor.output)")
    }
  }
}
