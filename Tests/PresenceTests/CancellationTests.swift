import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

/// Whatever lasts ends soon when its task is cancelled, and tries nothing again and again meanwhile.
@Suite("Cancelling")
struct CancellationTests {
  private let keys = Keys(app: "shop")

  private func announcer(
    to connector: RedisConnector, stopTimeout: Duration = .seconds(2)
  ) -> Announcer {
    var options = Announcer.Options()
    options.stopTimeout = stopTimeout
    return Announcer(
      Instance(app: "shop", name: "web.1", lease: .seconds(2)), connector: connector,
      options: options)
  }

  private func history(_ server: RedisServer) async throws -> [EventType] {
    var types: [EventType] = []
    try await server.connector.withConnection { connection in
      try await History(keys: keys).read(on: connection) { page in
        types += page.compactMap { Event.read($0.bytes)?.type }
      }
    }
    return types
  }

  private func connections(_ server: RedisServer) async throws -> Int {
    let text = try await server.command("INFO", "stats").string ?? ""
    let line = text.split(whereSeparator: \.isNewline).first {
      $0.hasPrefix("total_connections_received:")
    }
    return line.flatMap { Int($0.split(separator: ":").last ?? "") } ?? 0
  }

  /// Cancels, and expects the end within the time that a stop has.
  private func expectEnd<Value: Sendable>(
    of task: Task<Value, any Error>, within limit: Duration = .seconds(3)
  ) async throws -> Value {
    let asked = ContinuousClock.now
    task.cancel()
    let value = try await task.value
    #expect(ContinuousClock.now - asked < limit)
    return value
  }

  @Test("an announcer says stop, once, and makes no connection for it")
  func beating() async throws {
    try await RedisServer.with { server in
      let announcer = announcer(to: server.connector)
      let run = Task { try await announcer.run() }
      try await eventually("it is announced") { try await history(server) == [.start] }
      let before = try await connections(server)
      let ending = try await expectEnd(of: run)
      #expect(ending == .stopped)
      #expect(try await history(server) == [.start, .stop])
      // The two are those that ask.
      #expect(try await connections(server) - before <= 2)
    }
  }

  @Test("an announcer that drains says stop")
  func draining() async throws {
    try await RedisServer.with { server in
      let announcer = announcer(to: server.connector)
      let run = Task { try await announcer.run() }
      try await eventually("it is announced") { try await history(server) == [.start] }
      await announcer.drain(reason: "shutdown", within: .seconds(1))
      #expect(try await history(server) == [.start, .stopping])
      let ending = try await expectEnd(of: run)
      #expect(ending == .stopped)
      #expect(try await history(server) == [.start, .stopping, .stop])
    }
  }

  @Test("before it has begun, nothing is announced")
  func atOnce() async throws {
    try await RedisServer.with { server in
      let announcer = announcer(to: server.connector)
      let run = Task {
        try? await Task.sleep(for: .seconds(60))
        return try await announcer.run()
      }
      _ = try await expectEnd(of: run)
      let types = try await history(server)
      #expect(types.isEmpty || types == [.start, .stop])
    }
  }

  @Test("while it connects to what does not answer, it ends at once")
  func connecting() async throws {
    try await RedisServer.with { server in
      server.freeze()
      let announcer = announcer(to: server.connector)
      let run = Task { try await announcer.run() }
      try await pass(.milliseconds(300))
      let ending = try await expectEnd(of: run)
      #expect(ending == .neverAnnounced)
      server.thaw()
      #expect(try await history(server).isEmpty)
      // The one that it made, and those that ask.
      #expect(try await connections(server) < 10)
    }
  }

  @Test(
    "while it registers, nothing stays up, and few connections are made", arguments: [true, false])
  func registering(isThawed: Bool) async throws {
    try await RedisServer.with { server in
      let proxy = try await Proxy(to: server)
      let announcer = announcer(to: proxy.connector)
      let run = Task { try await announcer.run() }
      try await eventually("it is connected") {
        try await server.command("CLIENT", "LIST").string?.contains("name=paasbus:") ?? false
      }
      let before = try await connections(server)
      server.freeze()
      run.cancel()
      if isThawed {
        try await pass(.milliseconds(300))
        server.thaw()
      }
      let ending = try await run.value
      server.thaw()
      // One of them is ours.
      #expect(try await connections(server) - before < 20)
      try await eventually("nobody is up") {
        try await server.connector.withConnection { connection in
          try await Snapshot.read(keys: keys, on: connection).instances.allSatisfy {
            // A start that comes out of the frozen server without its stop is left to its lease.
            $0.state != .up
          }
        }
      }
      if case .undelivered = ending { #expect(!isThawed) }
    }
  }

  @Test("while it tries to say stop, it goes on with that, and no longer than the time-out")
  func ending() async throws {
    try await RedisServer.with { server in
      let announcer = announcer(to: server.connector)
      let run = Task { try await announcer.run() }
      try await eventually("it is announced") { try await history(server) == [.start] }
      let before = try await connections(server)
      server.freeze()
      announcer.stop(reason: "SIGTERM")
      try await pass(.milliseconds(200))
      let ending = try await expectEnd(of: run)
      #expect(ending == .undelivered(nil))
      server.thaw()
      #expect(try await connections(server) - before < 20)
    }
  }

  @Test("away from Redis, it ends at once and says that nothing was delivered")
  func away() async throws {
    try await RedisServer.with { server in
      let announcer = announcer(to: server.connector)
      let run = Task { try await announcer.run() }
      try await eventually("it is announced") { try await history(server) == [.start] }
      server.kill()
      try await pass(.milliseconds(300))
      guard case .undelivered(let error?) = try await expectEnd(of: run) else {
        Issue.record("it says that it was delivered")
        return
      }
      #expect(PresenceError(error)?.endsConnection == true)
    }
  }

  @Test(
    "a watch, its events, a listener and a subscription end, connected or not",
    arguments: [true, false])
  func readers(isConnected: Bool) async throws {
    try await RedisServer.with { server in
      if !isConnected { server.freeze() }
      let connector = server.connector
      let watcher = Watcher(app: "shop", connector: connector)
      let tasks: [Task<Void, any Error>] = [
        Task { try await watcher.run { _ in } },
        Task { for try await _ in watcher.events {} },
        Task {
          try await RedisListener(connector: connector, channels: ["c"], patterns: []).run { _ in
            true
          }
        },
        Task {
          try await connector.withSubscription(to: ["c"]) {
            while true {
              switch await $0.next() {
              case .messages, .timeOut: continue
              case .cancelled: return
              case .ended(let error): throw error
              }
            }
          }
        },
      ]
      try await pass(.milliseconds(500))
      let asked = ContinuousClock.now
      for task in tasks { task.cancel() }
      for task in tasks { _ = await task.result }
      // Well below the five seconds for which an answer is waited for.
      #expect(ContinuousClock.now - asked < .seconds(4))
      server.thaw()
    }
  }
}
