import Foundation
import TestSupport
import Testing

@Suite("In front of a Node app written after the tutorial")
struct NodeTests {
  static let hasNode = (try? ManagedProcess("node", ["--version"]).hasSucceeded) ?? false

  /// Publishes `start`, shows what it hears, and on SIGTERM publishes `stop`; with two clients,
  /// since one that is subscribed cannot publish.
  private static let app = """
    const net = require('net')
    const http = require('http')
    const connect = () => net.createConnection(process.env.SOCKET)
    const [publisher, subscriber] = [connect(), connect()]
    const server = http.createServer((_, reply) => reply.end('hello'))
    subscriber.write('SUBSCRIBE instances\\r\\n')
    subscriber.once('data', () => {
      subscriber.on('data', data => console.log(String(data).split('\\r\\n').slice(6, 7)[0]))
      publisher.write('PUBLISH instances start\\r\\n')
    })
    server.listen(0, '127.0.0.1', () => console.log('listening', process.env.PAASBUS_INSTANCE_NAME))
    process.on('SIGTERM', () => {
      publisher.write('PUBLISH instances stop\\r\\n')
      publisher.once('data', () => server.close(() => process.exit(0)))
    })
    """

  @Test(
    "both are seen to come and go, and the app ends in its own way",
    .enabled(if: hasNode, "there is no node on this machine"))
  func node() async throws {
    try await RedisServer.with { server in
      let watch = try await Paasbus.watch(on: server)
      let process = try Paasbus.start(
        ["announce", "--name", "web.1", "--", "node", "-e", Self.app], on: server,
        environment: ["SOCKET": server.socketPath])
      try await eventually("the app listens") { process.output.contains("listening web.1") }
      _ = try await watch.waitFor("start", count: 2)
      process.signal(SIGTERM)
      #expect(try await process.exitStatus() == 0)
      let stops = try await watch.waitFor("stop", count: 2)
      let own = stops.last { $0["foreign"] == nil }
      #expect(own?["reason"] == .string("SIGTERM") && own?["exit"] == .number(0))
      #expect(watch.objects(ofType: "stopping").count == 1)
      #expect(stops.count { $0["foreign"] == .bool(true) } == 1)
      #expect(process.lines.contains("start"))
    }
  }
}
