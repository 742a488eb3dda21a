import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("serve with a password")
struct ServeLoginTests {
  private static let password = "correct horse battery"
  private static let form = "password=correct+horse+battery"

  private func with(
    _ words: String..., environment: [String: String] = [:],
    _ body: (RedisServer, PanelProcess) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let all = ["PAASBUS_PANEL_PASSWORD": Self.password].merging(environment) { $1 }
      try await body(
        server,
        try await PanelProcess.start(["--app", "default"] + words, on: server, environment: all))
    }
  }

  private func signIn(
    _ panel: PanelProcess, _ headers: [String: String] = [:], form: String = form
  ) async throws -> HTTPAnswer {
    try await panel.ask(
      "/login", method: "POST",
      ["Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"]
        .merging(headers) { $1 }, body: form)
  }

  private func cookie(_ answer: HTTPAnswer) throws -> String {
    String(try #require(answer["set-cookie"]).prefix { $0 != ";" })
  }

  @Test("nothing but health and the form is shown without a log-in")
  func closed() async throws {
    try await with { _, panel in
      for path in ["/", "/instances/01JDDV3V8Q6W2N4C7T0Z5RKXYB", "/nowhere"] {
        let answer = try await panel.ask(path)
        #expect(answer.status == 303 && answer["location"]?.contains("login?next=") == true)
      }
      for path in [
        "/api/v1/bus", "/api/v1/instances", "/api/v1/history", "/api/v1/events", "/metrics",
        "/panel.js", "/api/nowhere",
      ] {
        let answer = try await panel.ask(path)
        #expect(answer.status == 401 && answer["www-authenticate"] != nil, "\(path)")
      }
      for path in ["/healthz", "/login", "/panel.css", "/icon.svg"] {
        #expect(try await panel.ask(path).status == 200, "\(path)")
      }
    }
  }

  @Test("a log-in leads back, holds at every process and after a restart, and ends with sign-out")
  func session() async throws {
    try await with { server, panel in
      let answer = try await signIn(panel, form: Self.form + "&next=%2F%3Fq%3Dweb")
      #expect(answer.status == 303)
      #expect(answer["location"] == "login?signed-in=1&next=%2F%3Fq%3Dweb")
      let set = try #require(answer["set-cookie"])
      for word in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] { #expect(set.contains(word)) }
      #expect(set.hasPrefix("paasbus=") && !set.contains("Secure"))
      let cookie = try cookie(answer)
      let back = try await panel.ask("/login?signed-in=1&next=%2F%3Fq%3Dweb", ["Cookie": cookie])
      #expect(back.status == 303 && back["location"] == "./?q=web")
      #expect(try await panel.ask("/", ["Cookie": cookie]).status == 200)
      let lost = try await panel.ask("/login?signed-in=1")
      #expect(lost.text.contains("did not keep the log-in"))
      // Neither the token nor the password stands in Redis.
      let keys = try await server.cli("KEYS", "*panel*")
      let token = String(cookie.dropFirst("paasbus=".count))
      #expect(!keys.contains(token) && keys.contains("paasbus:{default}:panel:"))
      let other = try await PanelProcess.start(
        "--app", "default", on: server, environment: ["PAASBUS_PANEL_PASSWORD": Self.password])
      #expect(try await other.ask("/api/v1/bus", ["Cookie": cookie]).status == 200)
      let changed = try await PanelProcess.start(
        "--app", "default", on: server,
        environment: ["PAASBUS_PANEL_PASSWORD": "another password, a long one"])
      #expect(try await changed.ask("/api/v1/bus", ["Cookie": cookie]).status == 401)
      let out = try await panel.ask(
        "/logout", method: "POST", ["Cookie": cookie, "Sec-Fetch-Site": "same-origin"])
      #expect(out.status == 303 && out["set-cookie"]?.contains("Max-Age=0") == true)
      #expect(try await other.ask("/api/v1/bus", ["Cookie": cookie]).status == 401)
    }
  }

  @Test("Bearer and Basic let programs in, whatever was tried before")
  func programs() async throws {
    try await with { _, panel in
      let basic = Data("panel:\(Self.password)".utf8).base64EncodedString()
      for value in ["Bearer \(Self.password)", "bearer \(Self.password)", "Basic \(basic)"] {
        #expect(try await panel.ask("/metrics", ["Authorization": value]).status == 200)
      }
      var statuses: [Int] = []
      for _ in 0..<7 {
        statuses.append(try await panel.ask("/metrics", ["Authorization": "Bearer no"]).status)
      }
      #expect(statuses == [401, 401, 401, 401, 401, 429, 429])
      #expect(
        try await panel.ask("/metrics", ["Authorization": "Bearer \(Self.password)"]).status == 200)
      for wrong in ["Basic ####", "Basic", "Digest x", "Bearer", "Bearer \u{1}"] {
        let answer = try await panel.ask("/metrics", ["Authorization": wrong])
        #expect([400, 401, 429].contains(answer.status), "\(wrong)")
      }
    }
  }

  @Test("five wrong passwords in a minute, then 429 for the right one too; existing log-ins go on")
  func throttled() async throws {
    try await with { server, panel in
      let cookie = try cookie(try await signIn(panel))
      for _ in 0..<5 { #expect(try await signIn(panel, form: "password=x").status == 401) }
      let answer = try await signIn(panel)
      #expect(answer.status == 429 && answer["retry-after"] == "60")
      #expect(try await panel.ask("/", ["Cookie": cookie]).status == 200)
      // The count is kept for all processes, and ends by itself.
      let key = try await server.cli("KEYS", "*failures*").trimmingCharacters(in: .newlines)
      #expect((1...60).contains(try await server.command("TTL", key).integer ?? 0))
    }
  }

  @Test(
    "a user who may not write to Redis sees the panel, and wrong passwords are limited all the same"
  )
  func readOnly() async throws {
    try await RedisServer.with { server in
      try await server.cli(
        "ACL", "SETUSER", "ro", "on", ">pw", "~*", "&*", "+@read", "+@connection",
        "+@transaction", "+@pubsub", "+time", "+info", "-@write", "-publish")
      let panel = try await PanelProcess.start(
        "--app", "default", "--url", "unix://ro:pw@\(server.socketPath)", on: server,
        environment: ["PAASBUS_PANEL_PASSWORD": Self.password])
      let right = ["Authorization": "Bearer \(Self.password)"]
      #expect(try await panel.ask("/", right).status == 200)
      #expect(try await signIn(panel).status == 503)
      var statuses: [Int] = []
      for _ in 0..<7 {
        statuses.append(try await panel.ask("/metrics", ["Authorization": "Bearer no"]).status)
      }
      #expect(statuses == [401, 401, 401, 401, 401, 429, 429])
      #expect(try await panel.ask("/", right).status == 200)
    }
  }

  @Test("a form from elsewhere is refused")
  func foreign() async throws {
    try await with { _, panel in
      for headers in [
        ["Sec-Fetch-Site": "cross-site"], ["Sec-Fetch-Site": "same-site"],
        ["Sec-Fetch-Site": "", "Origin": "https://evil.example"],
        ["Sec-Fetch-Site": "", "Origin": "null"], ["Sec-Fetch-Site": ""],
      ] {
        var all = headers
        if all["Sec-Fetch-Site"] == "" { all["Sec-Fetch-Site"] = nil }
        let answer = try await panel.ask("/login", method: "POST", all, body: Self.form)
        #expect(answer.status == 403 && answer["set-cookie"] == nil, "\(headers)")
      }
      let own = try await panel.ask(
        "/login", method: "POST", ["Origin": "http://localhost:\(panel.port)"], body: Self.form)
      #expect(own.status == 303)
    }
  }

  @Test(
    "a log-in leads to no other site",
    arguments: [
      "//evil.example", "/\\evil.example", "https://evil.example", "\\\\evil.example",
      "javascript:x",
      "/%0d%0aSet-Cookie:x", "/ x",
    ])
  func openRedirect(next: String) async throws {
    try await with { _, panel in
      let escaped = next.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
      let answer = try await signIn(panel, form: Self.form + "&next=\(escaped)")
      let cookie = try cookie(answer)
      let location = try #require(answer["location"])
      let back = try await panel.ask("/\(location)", ["Cookie": cookie])
      let target = try #require(back["location"])
      #expect(target.hasPrefix("./") && !target.contains("evil") || next.hasPrefix("/%0d"))
      #expect(back.headers.count { $0.name == "set-cookie" } == 0)
    }
  }

  @Test("on a platform cookies are for https alone; what came over http goes to https")
  func platform() async throws {
    let port = try RedisServer.freePort()
    try await with(environment: ["PORT": "\(port)", "DYNO": "web.1"]) { _, panel in
      let http = ["X-Forwarded-Proto": "http", "Host": "ops.example.com"]
      let get = try await panel.ask("/instances/x%20y?a=b%26", http)
      #expect(get.status == 308)
      #expect(get["location"] == "https://ops.example.com/instances/x%20y?a=b%26")
      #expect(try await signIn(panel, http).status == 403)
      let bearer = http.merging(["Authorization": "Bearer \(Self.password)"]) { $1 }
      #expect(try await panel.ask("/metrics", bearer).status == 403)
      #expect(try await panel.ask("/healthz", http).status == 200)
      let https = ["X-Forwarded-Proto": "https", "Host": "ops.example.com"]
      let answer = try await signIn(panel, https)
      let set = try #require(answer["set-cookie"])
      #expect(set.hasPrefix("__Host-paasbus=") && set.contains("; Secure"))
      #expect(answer["strict-transport-security"]?.contains("max-age") == true)
      // The router's word counts, and not what the client wrote before it.
      for number in 0..<6 {
        let address = https.merging(["X-Forwarded-For": "10.0.0.\(number), 192.0.2.1"]) { $1 }
        #expect(
          try await signIn(panel, address, form: "password=x").status == (number < 5 ? 401 : 429))
      }
      let other = https.merging(["X-Forwarded-For": "192.0.2.2"]) { $1 }
      #expect(try await signIn(panel, other).status == 303)
    }
  }

  @Test("below a path both forms of it work, and the cookie is for that path")
  func basePath() async throws {
    try await with("--base-path", "/ops/") { _, panel in
      let bearer = ["Authorization": "Bearer \(Self.password)"]
      for path in ["/ops/", "/", "/ops/metrics", "/metrics", "/ops/panel.css"] {
        #expect(try await panel.ask(path, bearer).status == 200, "\(path)")
      }
      let short = try await panel.ask("/ops?q=a%20b", bearer)
      #expect(short.status == 308 && short["location"] == "ops/?q=a%20b")
      let set = try #require(try await signIn(panel)["set-cookie"])
      #expect(set.hasPrefix("paasbus=") && set.contains("; Path=/ops/;"))
    }
  }

  @Test("an outage of Redis leaves those in who were in, and lets nobody else in")
  func outage() async throws {
    try await with { server, panel in
      let known = try cookie(try await signIn(panel))
      #expect(try await panel.ask("/", ["Cookie": known]).status == 200)
      server.kill()
      try await eventually("the outage is known") { try await panel.ask("/readyz").status == 503 }
      #expect(try await panel.ask("/", ["Cookie": known]).status == 200)
      let made = "paasbus=" + String(repeating: "a", count: 64)
      #expect(try await panel.ask("/", ["Cookie": made]).status == 503)
      #expect(try await signIn(panel).status == 503)
    }
  }

  @Test("metrics can be opened alone, and the panel left away")
  func metricsAlone() async throws {
    try await with("--open-metrics") { (_, panel) async throws in
      #expect(try await panel.ask("/metrics").status == 200)
      #expect(try await panel.ask("/api/v1/bus").status == 401)
    }
    try await RedisServer.with { server in
      let panel = try await PanelProcess.start(
        "--app", "default", "--no-panel", "--open-metrics", "--listen", "0.0.0.0:0", on: server)
      #expect(try await panel.ask("/metrics").status == 200)
      #expect(try await panel.ask("/").status == 404)
      #expect(try await panel.ask("/api/v1/bus").status == 404)
    }
  }
}
