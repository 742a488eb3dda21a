import Foundation
import TestSupport
import Testing

@Suite("What stands between us and Redis, or in its place")
struct ProxyTests {
  @Test(
    "a PING that is answered as on any other connection, as by Garnet and Dragonfly, is an answer",
    arguments: [["watch", "--app", "default"], ["subscribe", "instances"]])
  func pong(words: [String]) async throws {
    try await RedisServer.with { server in
      let pong = "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
      let proxy = try await Proxy(to: server, rewriting: (pong, "+PONG\r\n"))
      let reader = try Paasbus.start(words + ["--json", "--url", proxy.url])
      try await Bus(on: server).awaitWatchers(1)
      // It asks after 5 s of silence, and waits for the answer as long.
      try await pass(.seconds(12))
      try await Bus(on: server).publish(1)
      try await eventually("it is told") { reader.output.contains("start") }
      #expect(!reader.errorOutput.contains("trying again"), "\(reader.errorOutput)")
    }
  }

  @Test("no connection is idle for so long that a proxy cuts it, however long the lease")
  func idle() async throws {
    try await RedisServer.with { server in
      let proxy = try await Proxy(to: server, idleLimit: .seconds(20))
      let processes = [
        try Paasbus.start("announce", "--lease", "5m", "--url", proxy.url),
        try Paasbus.start("watch", "--url", proxy.url),
        try Paasbus.start("subscribe", "c", "--url", proxy.url),
        try Paasbus.start("wait", "--count", "5", "--timeout", "1h", "--url", proxy.url),
      ]
      try await Bus(on: server).awaitWatchers(2)
      try await pass(.seconds(24))
      #expect(proxy.cuts == 0)
      for process in processes {
        #expect(!process.errorOutput.contains("trying again"), "\(process.errorOutput)")
      }
    }
  }
}
