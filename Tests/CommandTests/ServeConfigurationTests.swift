import Foundation
import TestSupport
import Testing

@Suite("How serve is started")
struct ServeConfigurationTests {
  private static let password = "sixteen letters!"

  @Test(
    "what would be open by accident, or cannot be, is refused in one line with the remedy",
    arguments: [
      (["--listen", "0.0.0.0:0"], [:], 78, "PAASBUS_PANEL_PASSWORD"),
      (["--listen", "[::]:0"], [:], 78, "--no-login"),
      (["--socket", "/tmp/paasbus-test-nowhere.sock"], [:], 78, "PAASBUS_PANEL_PASSWORD"),
      (["--base-path", "/ops"], [:], 78, "PAASBUS_PANEL_PASSWORD"),
      (["--host", "ops.example.com"], [:], 78, "PAASBUS_PANEL_PASSWORD"),
      ([], ["PORT": "8080"], 78, "PAASBUS_PANEL_PASSWORD"),
      ([], ["PORT": "eighty"], 78, "PORT"), ([], ["PORT": "70000"], 78, "PORT"),
      ([], ["PAASBUS_PANEL_PASSWORD": "fifteen letters"], 78, "16 characters"),
      (["--no-panel", "--listen", "0.0.0.0:0"], [:], 78, "--open-metrics"),
      (["--base-path", "ops"], [:], 64, "--base-path"),
      (["--base-path", "/ops/../x"], [:], 64, "--base-path"),
      (["--base-path", "/ops?x"], [:], 64, "--base-path"),
      (["--base-path", "//ops"], [:], 64, "--base-path"),
      (["--listen", "8080"], [:], 64, "--listen"), (["--listen", "::1:80"], [:], 64, "--listen"),
      (["--listen", "127.0.0.1:70000"], [:], 64, "--listen"),
      (["--host", "a b"], [:], 64, "--host"),
      (["--listen", "127.0.0.1:0", "--socket", "/tmp/x"], [:], 64, "together"),
      (["--listen", "127.0.0.1:0", "--socket", "/tmp/panel2/sockets/p.sock"], [:], 64, "together"),
      (["--listen", "127.0.0.2:0"], [:], 78, "PAASBUS_PANEL_PASSWORD"),
      (["--listen", "192.0.2.1:0", "--no-login"], [:], 78, "not an address of this machine"),
      (["--listen", "no.such.host.invalid:0", "--no-login"], [:], 78, "--listen"),
      (["--socket", "/no/such/folder/s", "--no-login"], [:], 78, "--socket"),
      (["--socket", "/dev/null", "--no-login"], [:], 78, "not a socket"),
      (
        ["--socket", "/tmp/" + String(repeating: "x", count: 200), "--no-login"], [:], 78,
        "--socket"
      ),
    ] as [([String], [String: String], Int32, String)])
  func refused(
    words: [String], environment: [String: String], status: Int32, part: String
  ) async throws {
    try await RedisServer.with { server in
      let panel = try Paasbus.start(
        ["serve", "--app", "default", "-q"] + words, on: server, environment: environment)
      #expect(try await panel.exitStatus() == status, "\(panel.errorOutput)")
      #expect(
        panel.errorLines.count == 1 && panel.errorOutput.contains(part), "\(panel.errorOutput)")
      #expect(!panel.errorOutput.contains("fifteen letters"))
    }
  }

  @Test("a port that is in use is named; two apps and none chosen are refused with their names")
  func conflicts() async throws {
    try await RedisServer.with { server in
      let first = try await PanelProcess.start("--app", "default", on: server)
      let second = try Paasbus.start(
        "serve", "--app", "default", "--listen", "127.0.0.1:\(first.port)", on: server)
      #expect(try await second.exitStatus() == 78)
      #expect(second.errorOutput.contains("127.0.0.1:\(first.port)"))
      _ = try await Paasbus.announce("--app", "shop", on: server)
      _ = try await Paasbus.announce("--app", "blog", on: server)
      let panel = try Paasbus.start("serve", "--listen", "127.0.0.1:0", on: server)
      #expect(try await panel.exitStatus() == 78)
      #expect(panel.errorOutput.contains("blog, shop"))
    }
  }

  @Test("a first contact that is refused or fails ends it as watch")
  func noContact() async throws {
    try await RedisServer.with { server in
      try await server.command("CONFIG", "SET", "requirepass", "secret")
      let refused = try Paasbus.start(
        "serve", "--listen", "127.0.0.1:0", "--app", "default", "--url", server.url)
      #expect(try await refused.exitStatus() == 77)
    }
    let away = try Paasbus.start(
      "serve", "--listen", "127.0.0.1:0", "--app", "default", "--url", "unix:///no/redis.sock")
    #expect(try await away.exitStatus() == 69)
  }

  @Test("on a platform it listens at PORT on all addresses, and asks for the password")
  func port() async throws {
    try await RedisServer.with { server in
      let port = try RedisServer.freePort()
      let panel = try await PanelProcess.start(
        "--app", "default", on: server,
        environment: ["PORT": "\(port)", "PAASBUS_PANEL_PASSWORD": Self.password])
      #expect(panel.port == port)
      let six = try await RawSocket.connect(port: port, host: "::1")
      await six.send("GET /healthz HTTP/1.0\r\n\r\n")
      #expect(try await six.untilClosed().contains(" 200 "))
      #expect(try await panel.ask("/", ["Host": "ops.example.com"]).status == 303)
    }
  }

  @Test("a Unix socket is served, a stale one replaced, and none left behind")
  func unixSocket() async throws {
    try await RedisServer.with { server in
      let path = server.folder.appending(path: "panel.sock").path
      func start() async throws -> ManagedProcess {
        let panel = try Paasbus.start(
          "serve", "--app", "default", "--socket", path, "--no-login", on: server)
        try await eventually("it serves: \(panel.errorOutput)") {
          panel.errorOutput.contains("serving at the Unix socket \(path)")
        }
        return panel
      }
      let first = try await start()
      let socket = try await RawSocket.connect(path: path)
      await socket.send("GET /healthz HTTP/1.0\r\n\r\n")
      #expect(try await socket.untilClosed().contains(" 200 "))
      let second = try Paasbus.start(
        "serve", "--app", "default", "--socket", path, "--no-login", on: server)
      #expect(try await second.exitStatus() == 78)
      first.signal(SIGKILL)
      first.waitForEnd()
      let third = try await start()
      third.signal(SIGTERM)
      #expect(try await third.exitStatus() == 0)
      #expect(!FileManager.default.fileExists(atPath: path))
    }
  }

  @Test("an instance that ended before the panel began is shown with its reason")
  func ended() async throws {
    try await RedisServer.with { server in
      let one = try await Paasbus.announce("--name", "web.1", on: server)
      one.signal(SIGTERM)
      _ = try await one.exitStatus()
      let panel = try await PanelProcess.start(on: server)
      let page = try await panel.ask("/").text
      #expect(page.contains("1 stopped") && page.contains("SIGTERM, "))
    }
  }
}
