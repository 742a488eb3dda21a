import Foundation
import PaasbusRedis
import Platforms
import Testing

@Suite("Where Redis is")
struct RedisLocatorTests {
  private func locate(
    _ environment: [String: String], url: String? = nil
  ) throws -> RedisLocation? {
    try RedisLocator.locate(url: url, environment: environment)
  }

  @Test(
    "each provider's variable",
    arguments: [
      "PAASBUS_URL", "REDISTOGO_URL", "REDISCLOUD_URL", "REDIS_TLS_URL", "REDIS_URL",
      "OPENREDIS_URL", "REDISGREEN_URL", "MYREDIS_URL", "MEMETRIA_REDIS_URL",
      "STACKHERO_REDIS_URL_TLS", "SCALINGO_REDIS_URL", "REDIS_PUBLIC_URL", "REDIS_CLI_URL",
      "VALKEY_URL", "UPSTASH_REDIS_URL",
    ])
  func variables(name: String) throws {
    let found = try #require(try locate([name: "redis://u:pw@h:1/"]))
    #expect(found.source == name)
    #expect(found.endpoint.redactedURL == "redis://u:***@h:1")
    #expect(RedisLocator.variableNames.contains(name))
  }

  @Test("nothing is set")
  func nothing() throws {
    #expect(try locate([:]) == nil)
    #expect(try locate(["REDIS_URL": ""]) == nil)
  }

  @Test("blanks and newlines at the end, as files of secrets leave them, are taken off and told")
  func blanks() throws {
    for name in ["PAASBUS_URL", "REDISCLOUD_URL"] {
      let found = try #require(try locate([name: "redis://:pw@h:1/2 \r\n\n"]))
      #expect(found.endpoint.redactedURL == "redis://:***@h:1/2")
      #expect(found.trimmed == [name])
    }
    #expect(try locate([:], url: "redis://h\n")?.trimmed == ["--url"])
    #expect(try locate(["REDIS_URL": " \n"]) == nil)
    let parts = ["REDIS_HOST": "h\n", "REDIS_PORT": "7 ", "REDIS_PASSWORD": "p w\n"]
    let found = try #require(try locate(parts))
    #expect(found.endpoint.address == .tcp(.init(name: "h", port: 7)))
    #expect(found.endpoint.password == "p w")
    #expect(found.trimmed == ["REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"])
    #expect(throws: RedisLocatorError.self) { try locate(["REDIS_URL": " redis://h"]) }
  }

  @Test("the option wins over PAASBUS_URL, which wins over the providers")
  func order() throws {
    let all = [
      "PAASBUS_URL": "redis://b", "REDISTOGO_URL": "redis://c", "REDISCLOUD_URL": "redis://d",
    ]
    #expect(try locate(all, url: "redis://a")?.endpoint.hostName == "a")
    let second = try #require(try locate(all))
    #expect(second.endpoint.hostName == "b" && second.notes.isEmpty)
    let third = try #require(try locate(all.filter { $0.key != "PAASBUS_URL" }))
    #expect(third.endpoint.hostName == "c")
    #expect(
      third.notes
        == [.otherServers(variables: ["REDISCLOUD_URL"], used: "REDISTOGO_URL")])
  }

  @Test("variables that name the same server need no note")
  func same() throws {
    let found = try locate(["REDISCLOUD_URL": "redis://:a@h:1", "REDIS_URL": "redis://u:b@h:1/2"])
    #expect(found?.notes == [])
  }

  @Test("the first variable that cannot be read is an error, a later one a note; never its content")
  func malformed() throws {
    let error = #expect(throws: RedisLocatorError.self) {
      try locate(["REDISTOGO_URL": "redis://:topsecret@h:0", "REDIS_URL": "redis://h"])
    }
    #expect(error?.source == "REDISTOGO_URL" && error?.cause == .url(.port))
    #expect(error.map { "\($0)" }?.contains("topsecret") == false)
    let found = try locate(["REDISTOGO_URL": "redis://h", "REDIS_URL": "redis://:topsecret@h:0"])
    #expect(found?.notes == [.unreadable(variable: "REDIS_URL")])
  }

  @Test("Upstash's REST address next to a good REDIS_URL, and alone")
  func upstash() throws {
    let rest = ["UPSTASH_REDIS_URL": "https://eu1.upstash.io"]
    #expect(try locate(rest) == nil)
    #expect(
      try locate(rest.merging(["REDIS_URL": "redis://h"]) { $1 })?.endpoint.hostName == "h")
  }

  @Test(
    "VCAP_SERVICES in the shapes of several services",
    arguments: [
      (
        #"{"p.redis":[{"name":"c","label":"p.redis","tags":["redis"],"credentials":{"host":"h","port":6380,"password":"pw","tls_port":16380}}]}"#,
        "rediss://:***@h:16380"
      ),
      (
        #"{"rediscloud":[{"label":"rediscloud","credentials":{"hostname":"h","port":"9","password":"pw"}}]}"#,
        "redis://:***@h:9"
      ),
      (
        #"{"user-provided":[{"name":"my-redis","credentials":{"uri":"rediss://u:pw@h:7"}}]}"#,
        "rediss://u:***@h:7"
      ),
      (
        #"{"a-redis-like":[{"name":"x","credentials":{"url":"redis://wrong"}}],"z":[{"name":"y","tags":["Redis"],"credentials":{"url":"redis://right"}}]}"#,
        "redis://right:6379"
      ),
    ])
  func cloudFoundry(json: String, shown: String) throws {
    #expect(try locate(["VCAP_SERVICES": json])?.endpoint.redactedURL == shown)
  }

  @Test("VCAP_SERVICES without a Redis names none; broken, it is an error")
  func cloudFoundryWithout() throws {
    #expect(try locate(["VCAP_SERVICES": #"{"mysql":[{"name":"db","credentials":{}}]}"#]) == nil)
    #expect(throws: RedisLocatorError.self) { try locate(["VCAP_SERVICES": "{"]) }
  }

  @Test("PLATFORM_RELATIONSHIPS")
  func platformSH() throws {
    let json =
      #"{"db":[{"scheme":"mysql","host":"m","port":3306}],"cache":[{"scheme":"redis","host":"h","port":6379}]}"#
    let text = Data(json.utf8).base64EncodedString()
    #expect(
      try locate(["PLATFORM_RELATIONSHIPS": text])?.endpoint.redactedURL == "redis://h:6379")
    // As base64(1) prints it.
    let wrapped = text.prefix(20) + "\n" + text.dropFirst(20)
    #expect(
      try locate(["PLATFORM_RELATIONSHIPS": String(wrapped)])?.endpoint.redactedURL
        == "redis://h:6379")
    #expect(throws: RedisLocatorError.self) { try locate(["PLATFORM_RELATIONSHIPS": "%%%"]) }
  }

  @Test(
    "addresses in parts",
    arguments: [
      (
        ["OPENSHIFT_REDIS_HOST": "h", "OPENSHIFT_REDIS_PORT": "16379", "REDIS_PASSWORD": "p@/ w"],
        "redis://:***@h:16379"
      ),
      (
        ["OPENSHIFT_REDIS_DB_HOST": "h", "OPENSHIFT_REDIS_DB_PASSWORD": "p"], "redis://:***@h:6379"
      ),
      (
        ["REDIS_HOST": "h", "REDIS_PORT": "7", "REDIS_USER": "u", "REDIS_PASSWORD": "p"],
        "redis://u:***@h:7"
      ),
      (["REDISHOST": "::1", "REDISPORT": "7"], "redis://[::1]:7"),
      (["REDIS_HOST": "h:9"], "redis://h:9"),
      (["REDIS_HOST": "::1"], "redis://[::1]:6379"),
      (["REDIS_HOST": "[::1]", "REDIS_PORT": "7"], "redis://[::1]:7"),
      (["REDIS_HOST": "redis://h:9", "REDIS_PASSWORD": "p"], "redis://:***@h:9"),
      (["REDIS_HOST": "redis://h:9", "REDIS_PORT": "7"], "redis://h:9"),
      (["REDIS_HOST": "redis://h:6379", "REDIS_PORT": "7"], "redis://h:6379"),
      (["REDIS_HOST": "rediss://h/2", "REDIS_PORT": "tcp://10.0.0.1:7"], "rediss://h:7/2"),
      (["REDIS_HOST": "redis://[::1]", "REDIS_PORT": "7"], "redis://[::1]:7"),
      (["REDIS_HOST": "h", "REDIS_PORT": "tcp://10.0.0.1:7"], "redis://h:7"),
      (
        [
          "OPENSHIFT_REDIS_DB_HOST": "h", "OPENSHIFT_REDIS_DB_PORT": "8",
          "OPENSHIFT_REDIS_DB_PASSWORD": "p",
        ], "redis://:***@h:8"
      ),
      (
        ["REDISHOST": "h", "REDISPORT": "7", "REDISUSER": "default", "REDISPASSWORD": "p"],
        "redis://default:***@h:7"
      ),
      (["REDIS_HOST": "rediss://u:p@h:9"], "rediss://u:***@h:9"),
    ])
  func parts(environment: [String: String], shown: String) throws {
    #expect(try locate(environment)?.endpoint.redactedURL == shown)
  }

  @Test("a port that is none is blamed on its own variable")
  func badPort() {
    let environment = ["OPENSHIFT_REDIS_HOST": "127.0.0.1", "OPENSHIFT_REDIS_PORT": "zzz"]
    let error = #expect(throws: RedisLocatorError.self) { try locate(environment) }
    #expect(error?.cause == .port(variable: "OPENSHIFT_REDIS_PORT"))
  }

  @Test("the providers' variables come in the documented order")
  func documentedOrder() {
    #expect(
      RedisLocator.variableNames == [
        "PAASBUS_URL", "REDISTOGO_URL", "REDISCLOUD_URL", "REDIS_TLS_URL", "REDIS_URL",
        "OPENREDIS_URL", "REDISGREEN_URL", "MYREDIS_URL", "MEMETRIA_REDIS_URL",
        "STACKHERO_REDIS_URL_TLS", "SCALINGO_REDIS_URL", "REDIS_PUBLIC_URL", "REDIS_CLI_URL",
        "VALKEY_URL", "UPSTASH_REDIS_URL", "VCAP_SERVICES", "PLATFORM_RELATIONSHIPS",
        "OPENSHIFT_REDIS_HOST", "OPENSHIFT_REDIS_DB_HOST", "REDIS_HOST", "REDISHOST",
      ])
  }

  @Test("hosts are the same in any case, and different on another port")
  func sameHost() throws {
    #expect(
      try locate(["REDIS_TLS_URL": "rediss://H.example:1", "REDIS_URL": "redis://h.example:1"])?
        .notes == [])
    #expect(
      try locate(["REDIS_TLS_URL": "rediss://h:2", "REDIS_URL": "redis://h:1"])?.notes.count == 1)
  }

  @Test(
    "a description that cannot be read gives way to another variable, with a note",
    arguments: ["VCAP_SERVICES", "PLATFORM_RELATIONSHIPS"])
  func givesWay(name: String) throws {
    let found = try #require(try locate([name: "{topsecret", "REDIS_HOST": "h"]))
    #expect(found.source == "REDIS_HOST")
    #expect(found.notes == [.unreadable(variable: name)])
    let error = #expect(throws: RedisLocatorError.self) { try locate([name: "{topsecret"]) }
    #expect(error?.source == name)
    #expect(error.map { "\($0)" }?.contains("topsecret") == false)
  }

  @Test(
    "VCAP_SERVICES with other services in shapes of their own",
    arguments: [
      #"{"a":[{"name":"x","credentials":"text"}],"redis":[{"credentials":{"uri":"redis://h"}}]}"#,
      #"{"a":[{"credentials":{"port":[1],"host":["m"]}}],"redis":[{"credentials":{"uri":"redis://h"}}]}"#,
      #"{"a":{"b":1},"c":[7],"redis":[{"tags":null,"label":3,"credentials":{"host":"h","uri":""}}]}"#,
      #"{"redis":[{"tags":["redis",1],"credentials":{"host":"h","port":6379,"tls_port":null}}]}"#,
    ])
  func otherServices(json: String) throws {
    #expect(try locate(["VCAP_SERVICES": json])?.endpoint.redactedURL == "redis://h:6379")
  }

  @Test(
    "PLATFORM_RELATIONSHIPS by scheme before name, with every part",
    arguments: [
      (
        #"{"redis-ui":[{"scheme":"http","host":"x"}],"z":[{"scheme":"redis","host":"h"}]}"#,
        "redis://h:6379"
      ),
      (#"{"redis":[{"scheme":"tcp","host":"h","port":"7"}]}"#, "redis://h:7"),
      (
        #"{"c":[{"scheme":"rediss","host":"h","username":"u","password":"p","path":"/2"}]}"#,
        "rediss://u:***@h:6379/2"
      ),
      (#"{"c":[{"scheme":"valkeys","host":"h","path":"-3","port":null}]}"#, "rediss://h:6379"),
      (#"{"a":[{"host":[1],"port":{}}],"redis":[{"host":"h"}]}"#, "redis://h:6379"),
    ])
  func relationships(json: String, shown: String) throws {
    let text = Data(json.utf8).base64EncodedString()
    #expect(try locate(["PLATFORM_RELATIONSHIPS": text])?.endpoint.redactedURL == shown)
  }

  @Test(
    "hosts in parts that are none",
    arguments: ["a/b", "a?db=1", "topsecret@h", "a b", "h:x", "h#x", "a,b"])
  func badParts(host: String) {
    let error = #expect(throws: RedisLocatorError.self) { try locate(["REDIS_HOST": host]) }
    #expect(error.map { "\($0)" }?.contains("topsecret") == false)
  }

  @Test("neither notes nor the text of a location hold a password")
  func secrets() throws {
    let found = try #require(
      try locate([
        "REDISTOGO_URL": "redis://u:topsecret@h", "REDIS_URL": "redis://:topsecret@i",
        "VALKEY_URL": "redis://:topsecret@j:0", "UPSTASH_REDIS_URL": "https://:topsecret@k",
      ]))
    #expect(found.notes.count == 3)
    #expect(!"\(found)".contains("topsecret"))
  }
}
