import Foundation
import TestSupport
import Testing

@Suite("serve under attack")
struct ServeAttackTests {
  private func with(
    _ words: String..., body: (PanelProcess) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let panel = try await PanelProcess.start(["--app", "default"] + words, on: server)
      try await body(panel)
      #expect(try await panel.ask("/healthz").status == 200)
    }
  }

  private func statuses(_ text: String) -> [Int] {
    text.matches(of: /HTTP\/1\.[01] (\d{3})/).compactMap { Int($0.1) }
  }

  @Test(
    "what two programs may read differently, or is no request, is refused and the connection ended",
    arguments: [
      ("GET / HTTP/1.1\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: local host\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: localhost/x\r\n\r\n", 400),
      ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
      ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
      ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
      (
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
          + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
      ),
      (
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
          + "Content-Length: 5\r\n\r\nabcde", 400
      ),
      ("POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
      ("POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n", 413),
      ("POST /login HTTP/1.1\r\nHost: localhost\r\nExpect: much\r\n\r\n", 417),
      ("GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n folded\r\n\r\n", 400),
      ("GET /\u{1}x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
      ("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
      ("hello\r\n\r\n", 400), ("\u{0}\u{1}\u{2}\u{3}\r\n\r\n", 400),
      ("GET /" + String(repeating: "a", count: 9000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
      (
        "GET /" + String(repeating: "a", count: 90_000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        414
      ),
      (
        "GET / HTTP/1.1\r\nHost: localhost\r\nA: " + String(repeating: "a", count: 17_000)
          + "\r\n\r\n", 431
      ),
      (
        "GET / HTTP/1.1\r\nHost: localhost\r\n" + String(repeating: "A: b\r\n", count: 3000)
          + "\r\n", 431
      ),
    ])
  func refused(request: String, status: Int) async throws {
    try await with { panel in
      let socket = try await RawSocket.connect(port: panel.port)
      await socket.send(request)
      let text = try await socket.untilClosed(within: .seconds(10))
      #expect(statuses(text) == [status], "\(text)")
      #expect(text.contains("Connection: close") || text.contains("connection: close"), "\(text)")
    }
  }

  @Test("a request that a refused one hides in its body is never answered")
  func smuggling() async throws {
    try await with { panel in
      let hidden = "GET /api/v1/bus HTTP/1.1\r\nHost: localhost\r\n\r\n"
      for front in [
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
          + "Content-Length: \(hidden.utf8.count)\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: \(hidden.utf8.count)\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\u{0B}chunked\r\n\r\n",
      ] {
        let socket = try await RawSocket.connect(port: panel.port)
        await socket.send(front + hidden)
        let text = try await socket.untilClosed(within: .seconds(10))
        #expect(statuses(text).count == 1 && !text.contains("\"connection\""), "\(text)")
      }
    }
  }

  @Test("a connection that says nothing, or dribbles its head or body, is ended in time")
  func slow() async throws {
    try await with { panel in
      let silent = try await RawSocket.connect(port: panel.port)
      let head = try await RawSocket.connect(port: panel.port)
      let body = try await RawSocket.connect(port: panel.port)
      await body.send("POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n")
      await head.send("GET / HTTP/1.1\r\n")
      let begun = ContinuousClock.now
      try await eventually("all are ended", within: .seconds(25)) {
        await head.send("A: b\r\n")
        await body.send("x")
        try await pass(.milliseconds(300))
        return silent.isClosed && head.isClosed && body.isClosed
      }
      #expect(ContinuousClock.now - begun < .seconds(18))
      #expect(statuses(head.text) == [408] && statuses(body.text) == [408])
    }
  }

  @Test("a head or a body without end is cut, and memory stays flat")
  func endless() async throws {
    try await with { panel in
      let before = try panel.process.peakMemory
      for front in [
        "GET / HTTP/1.1\r\nA: ", "GET /", "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
      ] {
        let socket = try await RawSocket.connect(port: panel.port)
        await socket.send(front)
        let piece =
          front.hasSuffix("\r\n\r\n")
          ? "ffff\r\n" + String(repeating: "x", count: 65_535) + "\r\n"
          : front.hasSuffix("localhost\r\n")
            ? String(repeating: "A: b\r\n", count: 10_000) : String(repeating: "a", count: 65_536)
        for _ in 0..<500 where !socket.isClosed { await socket.send(piece) }
        _ = try await socket.untilClosed(within: .seconds(10))
      }
      #expect(try panel.process.peakMemory < before + 20_000)
    }
  }

  @Test("tens of thousands of pipelined requests are answered one after the other, in flat memory")
  func pipelined() async throws {
    try await with { panel in
      let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
      let one = try await RawSocket.connect(port: panel.port)
      await one.send(request)
      try await eventually("one is answered") { one.text.hasSuffix("\r\n\r\n") }
      let before = try panel.process.peakMemory
      let socket = try await RawSocket.connect(port: panel.port)
      let many = Array(String(repeating: request, count: 1000).utf8)
      for _ in 0..<30 { await socket.send(many) }
      // All answers are as long as the first.
      try await eventually("all are answered", within: .seconds(120)) {
        socket.count == 30_000 * one.count
      }
      #expect(try panel.process.peakMemory < before + 40_000)
    }
  }

  @Test("HTTP/1.0 needs no host, gets no chunks, and its connection ends with the answer")
  func oldVersion() async throws {
    try await with("--no-login", "--host", "localhost") { panel in
      let socket = try await RawSocket.connect(port: panel.port)
      await socket.send("GET /healthz HTTP/1.0\r\n\r\n")
      #expect(statuses(try await socket.untilClosed()) == [200])
      let history = try await RawSocket.connect(port: panel.port)
      await history.send("GET /api/v1/history HTTP/1.0\r\nHost: localhost\r\n\r\n")
      let text = try await history.untilClosed()
      #expect(text.hasSuffix("\r\n\r\n[]\n") && !text.contains("chunked"), "\(text)")
    }
  }

  @Test("HEAD of a stream has no body, and the connection goes on")
  func headOfStreams() async throws {
    try await with { panel in
      let socket = try await RawSocket.connect(port: panel.port)
      for path in ["/api/v1/history", "/api/v1/events", "/healthz"] {
        await socket.send("HEAD \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
      }
      try await eventually("all are answered") { statuses(socket.text) == [200, 200, 200] }
      #expect(!socket.text.contains("\r\n0\r\n") && !socket.isClosed)
    }
  }

  @Test("with no descriptor left it rests until there is one")
  func descriptors() async throws {
    try await RedisServer.with { server in
      let panel = try await PanelProcess.start(
        "--app", "default", on: server, limits: ["--nofile=48"])
      var sockets: [RawSocket] = []
      for _ in 0..<60 {
        guard let socket = try? await RawSocket.connect(port: panel.port) else { continue }
        await socket.send("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sockets.append(socket)
      }
      try await pass(.seconds(1))
      let before = try panel.processorTicks
      try await pass(.seconds(2))
      #expect(try panel.processorTicks - before < 60)
      for socket in sockets { await socket.close() }
      try await eventually("it answers again") { try await panel.ask("/healthz").status == 200 }
    }
  }

  @Test("a request for another protocol is answered in this one, and the connection ends with it")
  func upgrade() async throws {
    try await with { panel in
      let socket = try await RawSocket.connect(port: panel.port)
      let request =
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
      await socket.send(request + "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let text = try await socket.untilClosed(within: .seconds(5))
      #expect(statuses(text) == [200] && text.contains("Connection: close"), "\(text)")
      #expect(text.contains(/Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/))
    }
  }

  @Test("another name for this machine is refused, and so is what came through a proxy")
  func rebinding() async throws {
    try await with { panel in
      for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1"] {
        #expect(try await panel.ask("/", ["Host": host]).status == 421)
      }
      for host in ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8080"] {
        #expect(try await panel.ask("/", ["Host": host]).status == 200)
      }
      // An address in the request line counts before the header.
      #expect(try await panel.ask("http://evil.example/").status == 421)
      #expect(try await panel.ask("http://localhost/").status == 200)
      for name in [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-Prefix", "Via",
      ] {
        let answer = try await panel.ask("/", [name: "x"])
        #expect(answer.status == 403 && answer.text.contains("--no-login"))
      }
    }
  }

  /// `PAASBUS_FUZZ` says how many requests; CI's few find what breaks at once.
  @Test("random and mutated requests neither crash it nor make it grow")
  func fuzz() async throws {
    let count = ProcessInfo.processInfo.environment["PAASBUS_FUZZ"].flatMap { Int($0) } ?? 3000
    try await with { panel in
      var random = SeededGenerator(state: 20_26)
      let before = try panel.process.peakMemory
      let seeds = [
        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html, */*;q=0.1\r\n\r\n",
        "GET /?q=a%20b&sort=up&dir=desc&range=6h&goal=3&release=v1&from=17 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\nCookie: paasbus=a; b=c\r\n\r\npassword=x&n=/",
        "POST /logout HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "GET /api/v1/history?since=1h&only=start,stop&name=web.* HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/v1/events?after=1732399000000-17 HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 1-2\r\n\r\n",
        "GET /api/v1/instances/01JDDV3V8Q6W2N4C7T0Z5RKXYB HTTP/1.0\r\nAuthorization: Basic YTpi\r\n\r\n",
        "HEAD http://[::1]:80/metrics HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      ].map { Array($0.utf8) }
      var socket = try await RawSocket.connect(port: panel.port)
      for number in 0..<count {
        if number % 10 == 0 || socket.isClosed {
          await socket.close()
          socket = try await RawSocket.connect(port: panel.port)
        }
        await socket.send(Self.mutated(seeds, using: &random))
      }
      #expect(panel.process.isRunning)
      #expect(try panel.process.peakMemory < before + 30_000)
    }
  }

  private static func mutated(
    _ seeds: [[UInt8]], using random: inout SeededGenerator
  ) -> [UInt8] {
    var bytes = seeds.randomElement(using: &random) ?? []
    for _ in 0..<Int.random(in: 0...6, using: &random) where !bytes.isEmpty {
      let index = Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes.remove(at: index)
      case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
      case 3: bytes.insert(contentsOf: bytes[index...].prefix(40), at: index)
      default: bytes.removeSubrange(index..<min(bytes.count, index + 20))
      }
    }
    return bytes
  }
}
