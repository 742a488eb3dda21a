import NIOPosix
import TestSupport
import Testing

@testable import PaasbusRedis

@Suite("Connections")
struct RedisConnectionTests {
  @Test("connections live on the event loop that is handed in, else all on one of ours")
  func eventLoop() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    try await RedisServer.with { server in
      let endpoint = server.connector.endpoint
      let own = RedisConnector(endpoint: endpoint, eventLoop: group.next())
      try await own.routed(to: "k").withConnection { connection in
        #expect(connection.channel.eventLoop === group.next())
      }
      try await RedisConnector(endpoint: endpoint).withConnection { connection in
        #expect(connection.channel.eventLoop === ConnectionThread.shared.loop)
      }
    }
    try await group.shutdownGracefully()
  }

  @Test("requests are pipelined and replies come in order")
  func pipelining() async throws {
    try await RedisServer.with { server in
      try await server.connector.withConnection { connection in
        async let one = connection.pipeline((0..<500).map { RedisCommand("ECHO", "a\($0)") })
        async let two = connection.pipeline((0..<500).map { RedisCommand("ECHO", "b\($0)") })
        let (first, second) = try await (one, two)
        #expect(first.map(\.string) == (0..<500).map { "a\($0)" })
        #expect(second.map(\.string) == (0..<500).map { "b\($0)" })
      }
    }
  }

  @Test("a server that does not answer ends the connection after the time-out")
  func commandTimeout() async throws {
    try await RedisServer.with { server in
      try await server.connector.withConnection { connection in
        server.freeze()
        defer { server.thaw() }
        let error = await #expect(throws: RedisError.self) {
          try await connection.pipeline([RedisCommand("PING")], timeout: .milliseconds(50))
        }
        #expect(error?.kind == .unreachable)
        await #expect(throws: RedisError.self) { try await connection.send(RedisCommand("PING")) }
      }
    }
  }

  @Test("a reply beyond the limit is a clear error")
  func replyLimit() async throws {
    try await RedisServer.with { server in
      var connector = server.connector
      connector.replySizeLimit = 1 << 20
      try await connector.withConnection { connection in
        _ = try await connection.send(RedisCommand("SETRANGE", "key", "3000000", "x"))
        let error = await #expect(throws: RedisError.self) {
          try await connection.send(RedisCommand("GET", "key"))
        }
        #expect(error?.cause == .replyTooLarge(limit: 1_048_576))
      }
    }
  }

  @Test("a killed connection fails what is under way and ends a sleep")
  func killed() async throws {
    try await RedisServer.with { server in
      try await server.connector.withConnection { connection in
        let sleep = Task { try await connection.sleep(for: .seconds(60)) }
        try await server.command("CLIENT", "KILL", "TYPE", "normal")
        await #expect(throws: RedisError.self) { try await sleep.value }
      }
    }
  }

  @Test("messages come in batches, with the pong behind those published before the ping")
  func subscription() async throws {
    try await RedisServer.with { server in
      try await server.connector.withSubscription(to: ["one"], patterns: ["t*"]) { subscription in
        for number in 0..<100 { try await server.command("PUBLISH", "one", "\(number)") }
        try await server.command("PUBLISH", "two", "last")
        subscription.ping()
        var pushes: [RedisPush] = []
        while pushes.last != .pong, case .messages(let batch) = await subscription.next() {
          pushes += batch
        }
        let texts = pushes.compactMap(\.payload).map { String(decoding: $0, as: UTF8.self) }
        #expect(texts == (0..<100).map(String.init) + ["last"])
        guard case .message(let message)? = pushes.dropLast().last else { return }
        #expect(message.pattern == Array("t*".utf8)[...])
      }
    }
  }

  @Test("a limit that passes, a cancelled reader and a connection that ends are told apart")
  func ends() async throws {
    try await RedisServer.with { server in
      try await server.connector.withSubscription(to: ["one"]) { subscription in
        guard case .timeOut = await subscription.next(within: .milliseconds(10)) else {
          Issue.record("no time-out")
          return
        }
        let reader = Task { await subscription.next() }
        reader.cancel()
        guard case .cancelled = await reader.value else {
          Issue.record("not cancelled")
          return
        }
      }
      try await server.connector.withSubscription(to: ["one"]) { subscription in
        try await server.command("PUBLISH", "one", "before")
        try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
        guard case .messages = await subscription.next(), case .ended = await subscription.next()
        else {
          Issue.record("what came before the end is lost")
          return
        }
      }
    }
  }

  @Test("a limit that is over before the reader waits lets it go all the same")
  func shortLimits() async throws {
    try await RedisServer.with { server in
      try await server.connector.withSubscription(to: ["one"]) { subscription in
        let reader = Task {
          for _ in 0..<2000 { _ = await subscription.next(within: .zero) }
          return true
        }
        let watchdog = Task {
          // The thread of the connection is that of all others in this process.
          try await Task.sleep(for: .seconds(120))
          reader.cancel()
        }
        defer { watchdog.cancel() }
        let hasEnded = await reader.value
        #expect(hasEnded && !reader.isCancelled)
      }
    }
  }

  @Test("a reader who is slow gets everything, and reading pauses meanwhile")
  func slowReader() async throws {
    try await RedisServer.with { server in
      try await server.connector.withSubscription(to: ["one"]) { subscription in
        let payload = String(repeating: "x", count: 100_000)
        try await server.connector.withConnection { connection in
          for _ in 0..<150 {
            _ = try await connection.send(RedisCommand("PUBLISH", "one", payload))
          }
        }
        var count = 0
        while count < 150, case .messages(let batch) = await subscription.next() {
          count += batch.count
        }
        #expect(count == 150)
      }
    }
  }

  @Test(
    "a script runs by its digest, and where the server does not know it, its text is sent",
    arguments: ["SCRIPT", "HIDDEN"])
  func scripts(command: String) async throws {
    try await RedisServer.with(options: ["--rename-command", "SCRIPT", command]) { server in
      try await server.connector.withConnection { connection in
        let source = "return {KEYS[1], ARGV[1]}"
        let digest = try await connection.send(RedisCommand(command, "LOAD", source)).string
        let script = RedisScript(source: Array(source.utf8), digest: try #require(digest))
        for round in 0..<4 {
          let isFlushed = round == 1
          if isFlushed { _ = try await connection.send(RedisCommand(command, "FLUSH")) }
          let (reply, wasKnown) = try await script.run(
            on: connection, keys: ["k"].map { Array($0.utf8) }, arguments: [Array("\(round)".utf8)])
          #expect(reply.elements.map(\.string) == ["k", "\(round)"])
          #expect(wasKnown == !isFlushed)
        }
        let statistics =
          try await connection.send(RedisCommand("INFO", "commandstats")).string ?? ""
        // By EVAL only where the script may not be loaded.
        #expect(statistics.contains("cmdstat_eval:") == (command == "HIDDEN"))
      }
    }
  }
}
