import Foundation
import PaasbusRedis
import TestSupport
import Testing

@Suite("Subscriptions that many share")
struct RedisSubscriptionsTests {
  private func with(
    _ body: (RedisServer, RedisSubscriptions) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let subscriptions = RedisSubscriptions(server.connector, anchor: "anchor")
      let run = Task { try await subscriptions.run() }
      try await eventually("it is subscribed") { try await Self.count("anchor", server) == 1 }
      try await body(server, subscriptions)
      run.cancel()
      try await run.value
    }
  }

  private static func count(_ channel: String, _ server: RedisServer) async throws -> Int64 {
    try await server.command("PUBSUB", "NUMSUB", channel).elements.last?.integer ?? -1
  }

  private func texts(_ arrival: ChannelListener.Arrival) -> [String] {
    guard case .messages(let messages) = arrival else { return ["\(arrival)"] }
    return messages.map { String(decoding: $0.payload, as: UTF8.self) }
  }

  @Test("a channel is subscribed to with its first listener, and given up with its last")
  func growsAndShrinks() async throws {
    try await with { server, subscriptions in
      let one = try await subscriptions.listen(to: ["a", "b"])
      let two = try await subscriptions.listen(to: ["a"], patterns: ["p*"])
      #expect(try await Self.count("a", server) == 1)
      try await server.command("PUBLISH", "a", "1")
      #expect(texts(await one.next()) == ["1"])
      #expect(texts(await two.next()) == ["1"])
      try await server.command("PUBLISH", "pq", "2")
      #expect(texts(await two.next()) == ["2"])
      subscriptions.leave(one)
      #expect(await one.next() == .ended)
      try await eventually("b is given up") { try await Self.count("b", server) == 0 }
      #expect(try await Self.count("a", server) == 1)
      try await server.command("PUBLISH", "a", "3")
      #expect(texts(await two.next()) == ["3"])
      subscriptions.leave(two)
      try await eventually("a is given up") { try await Self.count("a", server) == 0 }
      #expect(try await server.command("PUBSUB", "NUMPAT").integer == 0)
    }
  }

  @Test("a thousand listeners that come and go share one connection")
  func many() async throws {
    try await with { server, subscriptions in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<1000 {
          group.addTask {
            let listener = try await subscriptions.listen(to: ["c\(number % 100)"])
            if number % 2 == 1 { subscriptions.leave(listener) }
            if number < 100, number % 2 == 0 {
              #expect(texts(await listener.next()) == ["to \(number)"])
            }
          }
        }
        for number in stride(from: 0, to: 100, by: 2) {
          try await eventually("c\(number) is heard") {
            try await server.command("PUBLISH", "c\(number)", "to \(number)").integer == 1
          }
        }
        try await group.waitForAll()
      }
      let subscribed = try await server.command("CLIENT", "LIST", "TYPE", "pubsub").string ?? ""
      #expect(subscribed.split(separator: "\n").count == 1)
      try await eventually("odd channels are given up") { try await Self.count("c1", server) == 0 }
      #expect(try await Self.count("c2", server) == 1)
    }
  }

  @Test("a listener that does not read loses messages and is told so, and no other does")
  func bounded() async throws {
    try await with { server, subscriptions in
      let slow = try await subscriptions.listen(to: ["a"], capacity: 10_000)
      let fast = try await subscriptions.listen(to: ["a"])
      let reading = Task {
        var count = 0
        while count < 500 {
          guard case .messages(let messages) = await fast.next() else { break }
          count += messages.count
        }
        return count
      }
      for number in 0..<500 { try await server.command("PUBLISH", "a", "message \(number)") }
      #expect(await reading.value == 500)
      let first = texts(await slow.next())
      #expect(first.first == "message 0" && first.count < 100)
      #expect(await slow.next() == .interruption)
      try await server.command("PUBLISH", "a", "later")
      #expect(texts(await slow.next()) == ["later"])
    }
  }

  @Test("after a lost connection all channels are there again, and listeners know of the loss")
  func reconnects() async throws {
    try await with { server, subscriptions in
      let listener = try await subscriptions.listen(to: ["a"])
      try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
      #expect(await listener.next() == .interruption)
      try await eventually("it is heard again") {
        try await server.command("PUBLISH", "a", "1").integer == 1
      }
      #expect(texts(await listener.next()) == ["1"])
      // One that comes while there is no connection is subscribed to with the next one.
      server.kill()
      let late = try await subscriptions.listen(to: ["late"])
      try await server.start()
      try await eventually("it is subscribed") { try await Self.count("late", server) == 1 }
      #expect(await late.next() == .interruption)
    }
  }

  @Test(
    "a channel that the user may not hear is refused, and the others go on",
    .enabled(if: RedisServer.hasChannelPermissions, "this server has no permissions for channels"))
  func refused() async throws {
    try await RedisServer.with { server in
      try await server.cli(
        "ACL", "SETUSER", "few", "on", ">pw", "~*", "resetchannels", "&ok*", "+@all")
      let endpoint = try RedisEndpoint(url: "unix://few:pw@\(server.socketPath)")
      let subscriptions = RedisSubscriptions(
        RedisConnector(endpoint: endpoint), anchor: "ok:anchor")
      let run = Task { try await subscriptions.run() }
      try await eventually("it is subscribed") { try await Self.count("ok:anchor", server) == 1 }
      let listener = try await subscriptions.listen(to: ["ok:1"])
      await #expect(throws: RedisError.self) { try await subscriptions.listen(to: ["secret"]) }
      try await server.command("PUBLISH", "ok:1", "x")
      #expect(texts(await listener.next()) == ["x"])
      run.cancel()
      try await run.value
    }
  }
}
