import Foundation
import TestSupport
import Testing

@Suite("Providers' variables against a real server")
struct ProviderTests {
  /// A server with a password and a user, on both loopbacks.
  private func withServer(_ body: (RedisServer, Int) async throws -> Void) async throws {
    try await RedisServer.with(
      usesTCP: true, options: ["--bind", "127.0.0.1", "::1"]
    ) { server in
      try await server.cli(
        "ACL", "SETUSER", "app", "on", ">p@ss/w?rd#1%", "~*", "&*", "+@all")
      try await server.cli("CONFIG", "SET", "requirepass", "a+b c&d")
      try await body(server, server.port ?? 0)
    }
  }

  /// Expects that a command finds the server and gets in, without a word about anything.
  private func expectEntry(_ environment: [String: String], database: Int = 0) async throws {
    let announce = try Paasbus.start(
      ["announce", "--app", "x"], environment: environment)
    try await eventually("it is announced: \(environment) \(announce.errorOutput)") {
      announce.errorOutput.contains("announced ")
    }
    let end = database == 0 ? "" : "/\(database)"
    let line = announce.errorLines.last ?? ""
    #expect(database == 0 || line.hasSuffix(end) || line.hasSuffix("?db=\(database)"), "\(line)")
    for secret in ["a+b", "a%2Bb", "p@ss", "p%40ss"] {
      #expect(!announce.errorOutput.contains(secret))
    }
    announce.signal(SIGTERM)
    #expect(try await announce.exitStatus() == 0)
  }

  @Test("each variable, with each form of user and password")
  func urls() async throws {
    try await withServer { server, port in
      let password = "a+b%20c%26d"
      let user = "p%40ss%2Fw%3Frd%231%25"
      let all = [
        ("REDISTOGO_URL", "redis://redistogo:\(password)@127.0.0.1:\(port)/", 0),
        ("REDISCLOUD_URL", "redis://rediscloud:\(password)@127.0.0.1:\(port)", 0),
        ("REDISCLOUD_URL", "redis://default:\(password)@localhost:\(port)", 0),
        ("REDIS_URL", "redis://h:\(password)@127.0.0.1:\(port)", 0),
        ("REDIS_TLS_URL", "redis://:\(password)@127.0.0.1:\(port)?family=0", 0),
        ("OPENREDIS_URL", "redis://openredis:\(password)@127.0.0.1:\(port)", 0),
        ("REDISGREEN_URL", "redis://rg:\(password)@127.0.0.1:\(port)", 0),
        ("MYREDIS_URL", "redis://myredis:\(password)@127.0.0.1:\(port)", 0),
        ("MEMETRIA_REDIS_URL", "redis://app:\(user)@127.0.0.1:\(port)", 0),
        ("STACKHERO_REDIS_URL_TLS", "redis://default:\(password)@127.0.0.1:\(port)/4", 4),
        ("SCALINGO_REDIS_URL", "redis://some-app:\(password)@127.0.0.1:\(port)", 0),
        ("REDIS_PUBLIC_URL", "redis://\(password)@127.0.0.1:\(port)", 0),
        ("REDIS_CLI_URL", "redis://app:\(user)@[::1]:\(port)", 0),
        ("VALKEY_URL", "valkey://default:\(password)@127.0.0.1:\(port)/1?db=5", 5),
        ("PAASBUS_URL", "unix://default:\(password)@\(server.socketPath)?db=2", 2),
        ("PAASBUS_URL", "redis+unix://:\(password)@\(server.socketPath)", 0),
        ("UPSTASH_REDIS_URL", "redis://default:\(password)@127.0.0.1:\(port)", 0),
      ]
      for (name, url, database) in all {
        try await expectEntry([name: url], database: database)
      }
    }
  }

  @Test("services that a platform describes, and parts")
  func descriptions() async throws {
    try await withServer { _, port in
      let credentials =
        #"{"host":"127.0.0.1","port":"\#(port)","password":"a+b c&d"}"#
      let uri = #"{"uri":"redis://:a+b%20c%26d@127.0.0.1:\#(port)"}"#
      let hostname = #"{"hostname":"127.0.0.1","port":\#(port),"password":"a+b c&d"}"#
      let other = #"{"uri":"redis://127.0.0.1:1"}"#
      for services in [
        #"{"p-redis":[{"label":"p-redis","tags":[],"credentials":\#(credentials)}]}"#,
        #"{"rediscloud":[{"label":"rediscloud","credentials":\#(hostname)}]}"#,
        #"{"user-provided":[{"name":"my-redis","credentials":\#(uri)}]}"#,
        #"{"a":[{"name":"redis","credentials":\#(other)}],"b":[{"tags":["redis"],"credentials":\#(uri)}]}"#,
      ] {
        try await expectEntry(["VCAP_SERVICES": services])
      }
      let relationships =
        #"{"cache":[{"scheme":"redis","host":"127.0.0.1","port":\#(port),"password":"a+b c&d"}]}"#
      try await expectEntry([
        "PLATFORM_RELATIONSHIPS": Data(relationships.utf8).base64EncodedString()
      ])
      for (host, portName, passwordName) in [
        ("OPENSHIFT_REDIS_HOST", "OPENSHIFT_REDIS_PORT", "REDIS_PASSWORD"),
        ("OPENSHIFT_REDIS_DB_HOST", "OPENSHIFT_REDIS_DB_PORT", "OPENSHIFT_REDIS_DB_PASSWORD"),
        ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"), ("REDISHOST", "REDISPORT", "REDISPASSWORD"),
      ] {
        try await expectEntry([host: "127.0.0.1", portName: "\(port)", passwordName: "a+b c&d"])
      }
    }
  }

  @Test("a REST address beside a good one is passed over")
  func restAddress() async throws {
    try await RedisServer.with { server in
      let announce = try Paasbus.start(
        ["announce", "--app", "x"],
        environment: ["UPSTASH_REDIS_URL": "https://x.upstash.io", "REDIS_URL": server.url])
      try await eventually("it is announced") { announce.errorOutput.contains("announced ") }
      announce.signal(SIGTERM)
    }
  }
}

@Suite("Dummy user names")
struct DummyUserTests {
  @Test("a user name that the provider made up is passed over, before and after users came")
  func passedOver() async throws {
    try await RedisServer.with { server in
      try await server.cli("CONFIG", "SET", "requirepass", "secret")
      for user in ["", "h", "redistogo", "rediscloud", "ignored"] {
        let url = "unix://\(user):secret@\(server.socketPath)"
        let list = try Paasbus.start("list", "--url", url)
        #expect(try await list.exitStatus() == 0, "\(user): \(list.errorOutput)")
        #expect(list.output == "no instances\n")
        let wrong = try Paasbus.start(
          "list", "--url", "unix://\(user):wrong@\(server.socketPath)")
        #expect(try await wrong.exitStatus() == 77, "\(user): \(wrong.errorOutput)")
        #expect(wrong.errorLines.count == 1)
      }
    }
  }
}
