import Foundation
import TestSupport
import Testing

@Suite(
  "The relay in a browser", .serialized, .enabled(if: ExpressApp.isPossible, "no Express here"))
struct RelayBrowserTests {
  @Test(
    "a job's result appears, also after a reload and after a gateway was killed, until a log-out")
  func story() async throws {
    try await RedisServer.with { server in
      let app = try await ExpressApp.start("web.1", on: server)
      let worker = try await ExpressApp.startWorker(on: server)
      // Two gateways at one address, as behind a router: the second takes it over.
      let port = try RedisServer.freePort()
      func start() async throws -> PanelProcess {
        let gateway = try await PanelProcess.start(
          "--app", "shop", "--relay", "--origin", "http://localhost:\(app.port)", "--listen",
          "127.0.0.1:\(port)", on: server,
          environment: ["PAASBUS_SESSION_SECRET": "keyboard cat"])
        try await eventually("it is ready") { try await gateway.ask("/readyz").status == 200 }
        return gateway
      }
      let first = try await start()
      // Another one, which hears meanwhile what the first does not.
      let second = try await PanelProcess.start(
        "--app", "shop", "--relay", on: server,
        environment: ["PAASBUS_SESSION_SECRET": "keyboard cat"])
      let page = "http://localhost:\(app.port)/page?relay=http://localhost:\(port)/relay"
      try await Browser.with { browser in
        func job(_ name: String) async throws {
          _ = try await browser.evaluate("fetch('/job?job=\(name)').then(() => 'started')")
        }
        try await browser.open("http://localhost:\(app.port)/login?user=42")
        try await browser.open(page)
        try await browser.waitFor("connected", in: "#state")
        try await job("report")
        try await browser.waitFor("report: result of report", in: "#jobs")
        // The job ends while the user looks at another page.
        try await browser.open("http://localhost:\(app.port)/me")
        try await job("during")
        try await browser.open(page)
        try await browser.waitFor("during: result of during", in: "#jobs")
        #expect(try await browser.text("#jobs").contains("report") == false)
        // Another user's.
        try await server.command("PUBLISH", "JOB:43:secret", "not yours")
        first.process.signal(SIGKILL)
        try await job("killed")
        try await pass(.milliseconds(300))
        let third = try await start()
        try await browser.waitFor("killed: result of killed", in: "#jobs")
        try await job("last")
        try await browser.waitFor("last: result of last", in: "#jobs")
        let shown = try await browser.text("#jobs")
        #expect(!shown.contains("gap") && !shown.contains("not yours"), "\(shown)")
        #expect(shown.ranges(of: "killed: ").count == 1)
        // Logged out in another tab.
        _ = try await browser.evaluate("fetch('/logout').then(() => 'out')")
        try await browser.waitFor("ended 401", in: "#state")
        withExtendedLifetime((third, second, worker)) {}
      }
    }
  }

  @Test("a connection that is dead without a word is made anew, and what was missed comes on it")
  func silence() async throws {
    try await RedisServer.with { server in
      let app = try await ExpressApp.start("web.1", on: server)
      let path = server.folder.appending(path: "relay.sock").path
      let gateway = try Paasbus.start(
        [
          "serve", "--app", "shop", "--relay", "--no-panel", "--open-metrics", "--socket", path,
          "--origin", "http://localhost:\(app.port)",
        ], on: server, environment: ["PAASBUS_SESSION_SECRET": "keyboard cat"])
      try await eventually("it serves: \(gateway.errorOutput)") {
        gateway.errorOutput.contains("serving at ")
      }
      let proxy = try await Proxy(toSocket: path)
      try await Browser.with { browser in
        let relay = "http://localhost:\(proxy.port)/relay"
        try await browser.open("http://localhost:\(app.port)/login?user=42")
        try await browser.open("http://localhost:\(app.port)/page?silence=3000&relay=\(relay)")
        try await browser.waitFor("connected", in: "#state")
        proxy.fallSilent()
        try await server.command("PUBLISH", "JOB:42:report", "missed")
        try await eventually("the message is swallowed") { proxy.hasSwallowed }
        proxy.speak()
        try await browser.waitFor("report: missed", in: "#jobs")
        #expect(try await browser.text("#jobs") == "report: missed")
      }
    }
  }
}
