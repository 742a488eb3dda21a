import Redis
import Testing

@Suite("URLs")
struct RedisEndpointTests {
  struct Good: Sendable {
    var url: String
    var shown: String
    var user: String?
    var password: String?

    init(_ url: String, _ shown: String, _ user: String? = nil, _ password: String? = nil) {
      (self.url, self.shown, self.user, self.password) = (url, shown, user, password)
    }
  }

  @Test(
    "good ones",
    arguments: [
      Good("redis://h", "redis://h:6379"),
      Good("redis://h:1", "redis://h:1"),
      Good("redis://h:65535/", "redis://h:65535"),
      Good("REDIS://h", "redis://h:6379"),
      Good("redis://h/3", "redis://h:6379/3"),
      Good("redis://h/3/", "redis://h:6379/3"),
      Good("redis://h/3?db=5", "redis://h:6379/5"),
      Good("redis://h?db=5", "redis://h:6379/5"),
      Good("redis://h:7?family=0", "redis://h:7"),
      Good("rediss://h:7", "rediss://h:7"),
      Good("valkey://h:7", "redis://h:7"),
      Good("valkeys://h:7", "rediss://h:7"),
      Good("redis://:pw@h", "redis://:***@h:6379", nil, "pw"),
      Good("redis://pw@h", "redis://:***@h:6379", nil, "pw"),
      Good("redis://u:pw@h", "redis://u:***@h:6379", "u", "pw"),
      Good("redis://u:@h", "redis://u@h:6379", "u", nil),
      Good("redis://@h", "redis://h:6379"),
      Good(
        "redis://redistogo:0f@x.redistogo.com:9/", "redis://redistogo:***@x.redistogo.com:9",
        "redistogo", "0f"),
      Good("redis://u:p%40w@h", "redis://u:***@h:6379", "u", "p@w"),
      Good("redis://u:p@w@h", "redis://u:***@h:6379", "u", "p@w"),
      Good("redis://u:p+w@h", "redis://u:***@h:6379", "u", "p+w"),
      Good("redis://u:p:w@h", "redis://u:***@h:6379", "u", "p:w"),
      Good("redis://u:p/w@h", "redis://u:***@h:6379", "u", "p/w"),
      Good("redis://u:p?w@h:1", "redis://u:***@h:1", "u", "p?w"),
      Good("redis://u%3A:%C3%A9@h", "redis://u?:***@h:6379", "u:", "é"),
      Good("redis://[::1]", "redis://[::1]:6379"),
      Good("redis://u:p@[::1]:7/2", "redis://u:***@[::1]:7/2", "u", "p"),
      Good("unix:///tmp/s", "unix:///tmp/s"),
      Good("unix:///tmp/s?db=2", "unix:///tmp/s?db=2"),
      Good("unix://:pw@/tmp/s", "unix://:***@/tmp/s", nil, "pw"),
      Good("redis+unix:///tmp/s", "unix:///tmp/s"),
      Good("redis-socket:///tmp/s", "unix:///tmp/s"),
      Good("redis+sentinel://a,b:7/main", "redis+sentinel://a:26379,b:7/main"),
      Good("rediss+sentinel://:pw@a/main/2", "rediss+sentinel://:***@a:26379/main/2", nil, "pw"),
    ])
  func good(row: Good) throws {
    let endpoint = try RedisEndpoint(url: row.url)
    #expect(endpoint.redactedURL == row.shown)
    #expect(endpoint.username == row.user)
    #expect(endpoint.password == row.password)
  }

  @Test(
    "bad ones, whose secrets the error keeps",
    arguments: [
      "", "redis", "localhost:6379", "redis:", "redis:/h", "redis://", "redis://:6379",
      "redis:///0",
      "redis://topsecret@", "redis://:topsecret@:1", "redis://h:0", "redis://h:70000",
      "redis://h:-1", "redis://h:x", "redis://h:1x", "redis://h:99999999999999999999",
      "redis://h/x", "redis://h/-1", "redis://h/99999999999999999999", "redis://h?db=x",
      "redis://u:topsecret%@h", "redis://u:topsecret%zz@h", "redis://u:topsecret%ff@h",
      "redis://u:%00@h", "redis://h ost", "redis://h\n", "redis://[::1", "redis://[::1]x:1",
      "redis://::1:6379", "http://h", "https://default:topsecret@h", "ftp://h", "mysql://h",
      "unix://", "unix://relative/path", "unix:///", "redis+sentinel://h", "redis+sentinel://h/",
      "redis+sentinel://,/m", "redis+sentinel://a:0/m",
      "unix:///" + String(repeating: "x", count: 200),
      "redis://" + String(repeating: "x", count: 9000), "topsecret://x", "redis\u{1b}://h",
    ])
  func bad(url: String) {
    let error = #expect(throws: RedisURLError.self) { try RedisEndpoint(url: url) }
    let text = error?.description ?? ""
    #expect(!text.isEmpty && text.count < 200 && !text.contains("\n"))
    #expect(url.hasPrefix("topsecret") || !text.contains("topsecret"))
  }

  @Test("what a query says")
  func query() throws {
    for item in ["tls=insecure", "ssl_cert_reqs=none", "skip_verify=true"] {
      #expect(try RedisEndpoint(url: "rediss://h?\(item)").skipsTLSVerification)
    }
    #expect(try !RedisEndpoint(url: "rediss://h?tls=secure").skipsTLSVerification)
    #expect(try RedisEndpoint(url: "redis://h?family=0&x").ignoredQueryItems == ["family", "x"])
  }
}
