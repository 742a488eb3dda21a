import PaasbusRedis
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
      Good("redis://u%3A:%C3%A9@h", "redis://u%3A:***@h:6379", "u:", "é"),
      Good("redis://%E2%80%AEu:p@h", "redis://%E2%80%AEu:***@h:6379", "\u{202E}u", "p"),
      Good("redis://u:p%23w@h", "redis://u:***@h:6379", "u", "p#w"),
      Good("redis://u:p#w@h:1/2", "redis://u:***@h:1/2", "u", "p#w"),
      Good("redis://:0f/w@h", "redis://:***@h:6379", nil, "0f/w"),
      Good("redis://h:7/2#part", "redis://h:7/2"),
      Good("redis://[fe80::1%25eth0]:7", "redis://[fe80::1%25eth0]:7"),
      Good("redis://[::1]", "redis://[::1]:6379"),
      Good("redis://u:p@[::1]:7/2", "redis://u:***@[::1]:7/2", "u", "p"),
      Good("unix:///tmp/s", "unix:///tmp/s"),
      Good("unix:///tmp/s?db=2", "unix:///tmp/s?db=2"),
      Good("unix://:pw@/tmp/s", "unix://:***@/tmp/s", nil, "pw"),
      Good("unix:///tmp/a@b:1", "unix:///tmp/a@b:1"),
      Good("unix:///tmp/a%20b%3Fc", "unix:///tmp/a%20b%3Fc"),
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
      // A raw `@` behind the host may be the rest of a password: no host is safe to take then.
      "redis://h:6379/0?client=a@b", "redis://u:1?topsecret@h", "redis://u:p@w?topsecret@h",
      "redis://u:p/w@h/0?client=a@topsecret", "redis://u:123#topsecret@h", "redis://u/topsecret@h",
      "redis://a,b:7", "redis://a%2Fb", "redis://a%0Ab", "redis://a%40b", "redis://[h]",
      "redis://[::g]", "redis://[]", "redis://h<b>", "unix:///tmp/a%0Ab", "unix:///tmp/a%1Bb",
      "redis+sentinel://h/m%0Ax", "redis+sentinel://h/m@x", "redis://h\u{85}",
      "redis://h\u{2028}", "redis://h\u{200B}", "redis://h\u{A0}", "redis://h/0/1",
      "redis://h?db=", "redis://h?db=-1", "redis+sentinel://h/m/x", "redis+sentinel://h/m/1/2",
      "redis://" + String(repeating: "x", count: 9000), "topsecret://x", "redis\u{1b}://h",
    ])
  func bad(url: String) {
    let error = #expect(throws: RedisURLError.self) { try RedisEndpoint(url: url) }
    let text = error.map { "\($0)" } ?? ""
    #expect(!text.isEmpty && text.count < 200 && !text.contains("\n"))
    #expect(url.hasPrefix("topsecret") || !text.contains("topsecret"))
  }

  @Test("what a query says")
  func query() throws {
    for item in ["tls=insecure", "ssl_cert_reqs=none", "skip_verify=true"] {
      #expect(try RedisEndpoint(url: "rediss://h?\(item)").skipsTLSVerification)
    }
    #expect(try !RedisEndpoint(url: "rediss://h?tls=secure").skipsTLSVerification)
    #expect(try RedisEndpoint(url: "redis://h?ssl=True").usesTLS)
    #expect(try !RedisEndpoint(url: "unix:///s?ssl=true").usesTLS)
    #expect(try RedisEndpoint(url: "redis://h?family=0&x").ignoredQueryItems == ["family", "?"])
    #expect(try RedisEndpoint(url: "redis://u?topsecret:1/2").ignoredQueryItems == ["?"])
  }

  @Test("what a URL shows can be read again and leads to the same server")
  func again() throws {
    for url in ["redis://[fe80::1%25eth0]:7/3", "rediss://a%25b@h", "unix:///a%20b?db=4"] {
      let endpoint = try RedisEndpoint(url: url)
      let again = try RedisEndpoint(url: endpoint.redactedURL)
      #expect(again.address == endpoint.address && again.database == endpoint.database)
      #expect(again.usesTLS == endpoint.usesTLS)
    }
  }

  @Test(
    "several URLs, or hosts, in one are told as that",
    arguments: [
      "redis://:topsecret@a:1,redis://:topsecret@b:1", "redis://a redis://:topsecret@b",
      "redis://:topsecret@a\nrediss://b", "redis://:topsecret@a:1,b:2",
      "redis://:topsecret@a;redis://b",
    ])
  func several(url: String) {
    let error = #expect(throws: RedisURLError.self) { try RedisEndpoint(url: url) }
    #expect(error == .severalURLs || error == .severalHosts)
  }

  @Test("a URL without a scheme is told how to begin, and keeps its secrets")
  func missingScheme() {
    let error = #expect(throws: RedisURLError.self) {
      try RedisEndpoint(url: "topsecret@localhost:6379")
    }
    #expect(error == .noScheme(isPath: false))
  }

  @Test("text made of an endpoint holds no password")
  func text() throws {
    let endpoint = try RedisEndpoint(url: "redis://u:topsecret@h")
    #expect("\(endpoint)" == "redis://u:***@h:6379")
    #expect(!"\([endpoint]) \(Optional(endpoint) as Any)".contains("topsecret"))
    var dumped = ""
    dump(endpoint, to: &dumped)
    #expect(!dumped.contains("topsecret"))
  }

  @Test("whatever is done to a URL, it is read or refused, and shown without its password")
  func fuzz() {
    var random = SystemRandomNumberGenerator()
    let seeds = [
      "redis://user:s3cr3tpw@host.example:6379/3?db=2", "rediss://:s3cr3tpw@[::1]:1/",
      "unix://s3cr3tpw@/tmp/a.sock?db=1", "redis+sentinel://:s3cr3tpw@a:1,b:2/master/0",
    ]
    let splinters = [
      "@", ":", "/", "?", "#", "%", "%41", "%ff", "[", "]", "é", "\u{0}", " ", "://",
    ]
    for _ in 0..<20_000 {
      var url = Array(seeds[Int.random(in: 0..<seeds.count, using: &random)])
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0...url.count, using: &random)
        if Bool.random(using: &random), place < url.count {
          url.remove(at: place)
        } else {
          url.insert(contentsOf: splinters.randomElement(using: &random) ?? "", at: place)
        }
      }
      let text = String(url)
      do {
        let endpoint = try RedisEndpoint(url: text)
        #expect(try RedisEndpoint(url: endpoint.redactedURL).address == endpoint.address)
        if let password = endpoint.password, password.contains("s3cr3tpw") {
          #expect(!endpoint.redactedURL.contains("s3cr3tpw"), "\(text)")
        }
      } catch {
        #expect(!"\(error)".contains("s3cr3tpw"), "\(text)")
      }
    }
  }
}
