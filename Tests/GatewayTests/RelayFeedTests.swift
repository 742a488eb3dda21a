import NIOCore
import PaasbusRedis
import TestSupport
import Testing

@testable import Gateway

@Suite("The relay's feed")
struct RelayFeedTests {
  /// A feed that runs.
  final class Running: Sendable {
    let feed: RelayFeed
    private let task: Task<Void, any Error>

    init(
      on server: RedisServer, bounds: RelayRing.Bounds = .init(), maxMessage: Int = 128 * 1024
    ) throws {
      var connector = server.connector
      connector.name = "relay"
      let keys = RelayKeys(app: "shop")
      let channel = try RelayChannel(RelayChannel.usual, clock: keys.clock)
      let feed = RelayFeed(
        RelayFeed.Configuration(
          keys: keys, channel: channel, bounds: bounds, maxMessage: maxMessage),
        connector: connector)
      self.feed = feed
      task = Task(executorPreference: connector.thread.executor) { try await feed.run() }
    }

    func ready() async throws {
      try await eventually("it is ready") { await self.onLoop { $0.isReady } }
    }

    func onLoop<Result: Sendable>(
      _ body: @escaping @Sendable (RelayFeed) async -> Result
    ) async -> Result {
      let feed = feed
      return await Task(executorPreference: feed.connector.thread.executor) { await body(feed) }
        .value
    }

    /// Ends it gracefully.
    func end() async {
      task.cancel()
      _ = try? await task.value
    }
  }

  /// A socket without a browser: what it got, as texts.
  final class Socket: Sendable {
    let user: String
    let got = Mutable<[String]>([])
    let position = Mutable<RelayPosition?>(nil)
    private let detachment = Mutable<(@Sendable () async -> Void)?>(nil)

    init(_ user: String) { self.user = user }

    var texts: [String] { got.get() }

    private func add(_ items: [RelayAttachment.Item]) {
      for item in items {
        switch item {
        case .message(let position, let message):
          self.position.set(position)
          got.update { $0.append(String(decoding: message.payload, as: UTF8.self)) }
        case .gap(let to, let why):
          position.set(to)
          got.update { $0.append("gap \(why.rawValue)") }
        }
      }
    }

    /// - Returns: whether nothing was missing.
    @discardableResult
    func attach(to running: Running, since: RelayAttachment.Since? = nil) async throws -> Bool? {
      try await running.ready()
      let isFirst = position.get() == nil
      let asked = since ?? position.get().map { .position($0) }
      let attached = await running.onLoop { feed -> (RelayPosition, Bool?)? in
        let box = Mutable<[RelayAttachment.Item]>([])
        let attached = await feed.attach(Array(self.user.utf8), since: asked) { news in
          if case .items(let items) = news { self.add(items) }
        }
        guard let attached else { return nil }
        box.set(attached.items)
        self.add(box.get())
        let listener = NIOLoopBound(attached.listener, eventLoop: feed.connector.thread.loop)
        self.detachment.set { await running.onLoop { $0.detach(listener.value) } }
        return (attached.position, attached.isRecovered)
      }
      let (position, isRecovered) = try #require(attached)
      if isFirst { self.position.set(position) }
      return isRecovered
    }

    func leave() async { await detachment.get()?() }

    func expect(_ texts: [String]) async throws {
      do {
        try await eventually("it got them", within: .seconds(10)) {
          self.texts.count >= texts.count
        }
      } catch {
        throw Impatience(description: "\(self.texts) instead of \(texts)")
      }
      #expect(self.texts == texts)
    }
  }

  private func publish(_ channel: String, _ texts: String..., on server: RedisServer) async throws {
    for text in texts { try await server.command("PUBLISH", channel, text) }
  }

  @Test("a user gets what is published for that user, and nothing else")
  func delivers() async throws {
    try await RedisServer.with { server in
      let gateway = try Running(on: server)
      let (one, other) = (Socket("42"), Socket("4"))
      try await one.attach(to: gateway)
      try await other.attach(to: gateway)
      try await publish("JOB:42:report", "a", "b", on: server)
      try await publish("JOB:4:2:x", "for 4", on: server)
      try await publish("JOB::x", "for nobody", on: server)
      try await publish("JOB:43:x", "for 43", on: server)
      try await publish("JOB:42:report", "c", on: server)
      try await one.expect(["a", "b", "c"])
      try await other.expect(["for 4"])
      await gateway.end()
    }
  }

  @Test("one who comes back, at another gateway too, gets what it missed")
  func resumes() async throws {
    try await RedisServer.with { server in
      let (first, second) = (try Running(on: server), try Running(on: server))
      let socket = Socket("42")
      try await socket.attach(to: first)
      try await publish("JOB:42:a", "1", "2", on: server)
      try await socket.expect(["1", "2"])
      await socket.leave()
      try await publish("JOB:42:a", "3", "4", on: server)
      #expect(try await socket.attach(to: second) == true)
      try await publish("JOB:42:a", "5", on: server)
      try await socket.expect(["1", "2", "3", "4", "5"])
      // A gateway that was not there then has it from the others.
      await socket.leave()
      try await publish("JOB:42:a", "6", on: server)
      let third = try Running(on: server)
      #expect(try await socket.attach(to: third) == true)
      try await socket.expect(["1", "2", "3", "4", "5", "6"])
      for gateway in [first, second, third] { await gateway.end() }
    }
  }

  @Test("a gateway whose connections are cut gets from another one what it missed")
  func fills() async throws {
    try await RedisServer.with { server in
      let first = try Running(on: server)
      let socket = Socket("42")
      try await socket.attach(to: first)
      let expected = Mutable<[String]>([])
      for round in 0..<5 {
        // Another one, which is there while the first is cut.
        let second = try Running(on: server)
        try await second.ready()
        for number in 0..<20 {
          try await publish("JOB:42:a", "\(round)-\(number)", on: server)
          expected.update { $0.append("\(round)-\(number)") }
          if number == 7 {
            let clients = try await server.cli("CLIENT", "LIST").split(separator: "\n")
            // The oldest two are the first one's.
            let ids = clients.filter { $0.contains("name=relay ") }.compactMap {
              $0.split(separator: " ").first.flatMap { Int($0.dropFirst(3)) }
            }.sorted()
            for id in ids.prefix(round == 0 ? 1 : 2) {
              try await server.command("CLIENT", "KILL", "ID", "\(id)")
            }
          }
        }
        try await socket.expect(expected.get())
        try await first.ready()
        try await eventually("it has settled") { await first.onLoop { $0.isReady } }
        await second.end()
      }
      await first.end()
    }
  }

  @Test(
    "the only gateway restarts without a gap where nothing was published meanwhile, and else tells it"
  )
  func restarts() async throws {
    try await RedisServer.with { server in
      let first = try Running(on: server)
      let socket = Socket("42")
      try await socket.attach(to: first)
      try await publish("JOB:42:a", "1", "2", on: server)
      try await socket.expect(["1", "2"])
      await socket.leave()
      try await publish("JOB:42:a", "3", on: server)
      try await eventually("it has heard it") { await first.onLoop { $0.figures.messages } == 3 }
      await first.end()
      let second = try Running(on: server)
      #expect(try await socket.attach(to: second) == true)
      try await socket.expect(["1", "2", "3"])
      await socket.leave()
      await second.end()
      try await publish("JOB:42:a", "unheard", on: server)
      let third = try Running(on: server)
      #expect(try await socket.attach(to: third) == false)
      try await socket.expect(["1", "2", "3", "gap unheard"])
      await third.end()
    }
  }

  @Test("what is kept reaches one who comes when no gateway ran")
  func keeps() async throws {
    try await RedisServer.with { server in
      let first = try Running(on: server)
      let socket = Socket("42")
      try await socket.attach(to: first)
      try await publish("JOB:42:a", "1", on: server)
      try await socket.expect(["1"])
      await socket.leave()
      await first.end()
      let keys = RelayKeys(app: "shop")
      for text in ["kept 1", "kept 2"] {
        let reply = try await server.connector.withConnection { connection in
          try await RelayScripts.keep.run(
            on: connection, keys: [Array(keys.clock.utf8), Array(keys.kept.utf8)],
            arguments: [
              keys.clock, "JOB:42:a", text, "newline", "1000", "131072", "600000", "8000000",
            ].map {
              Array($0.utf8)
            }
          ).reply
        }
        #expect(reply.elements.first?.string == "kept")
      }
      let second = try Running(on: server)
      #expect(try await socket.attach(to: second) == true)
      try await publish("JOB:42:a", "2", on: server)
      try await socket.expect(["1", "kept 1", "kept 2", "2"])
      await second.end()
    }
  }

  @Test("a Redis that was started anew is told, and what comes then arrives")
  func serverRestart() async throws {
    try await RedisServer.with { server in
      let gateway = try Running(on: server)
      let socket = Socket("42")
      try await socket.attach(to: gateway)
      try await publish("JOB:42:a", "1", on: server)
      try await socket.expect(["1"])
      server.kill()
      try await server.start()
      try await eventually("it is subscribed") {
        try await server.command("PUBSUB", "NUMPAT") == .integer(1)
      }
      try await gateway.ready()
      try await publish("JOB:42:a", "2", on: server)
      try await socket.expect(["1", "gap reset", "2"])
      await gateway.end()
    }
  }

  @Test("a job that ends before its socket is open is found by a moment")
  func moment() async throws {
    try await RedisServer.with { server in
      let gateway = try Running(on: server)
      try await gateway.ready()
      try await publish("JOB:42:a", "0", on: server)
      try await pass(.milliseconds(2500))
      let now = try await server.connector.withConnection {
        try await $0.send(RedisCommand("TIME")).serverTime
      }
      try await publish("JOB:42:a", "1", "2", on: server)
      let socket = Socket("42")
      #expect(try await socket.attach(to: gateway, since: .moment(now)) == true)
      try await publish("JOB:42:a", "3", on: server)
      try await socket.expect(["1", "2", "3"])
      await gateway.end()
    }
  }

  @Test("what a gateway lends lies on Redis a piece at a time, and is whole")
  func pieces() async throws {
    try await RedisServer.with { server in
      let first = try Running(on: server)
      try await first.ready()
      let text = String(repeating: "x", count: 100_000)
      let users = 0..<120
      for user in users { try await publish("JOB:\(user):a", text, on: server) }
      try await eventually("it has heard them") {
        await first.onLoop { $0.figures.messages } == Int64(users.count)
      }
      let most = Mutable(0)
      let looking = Task {
        while !Task.isCancelled {
          let keys = try await server.command("KEYS", "paasbus:*:fill:*")
          most.update { $0 = max($0, keys.elements.count) }
        }
      }
      let second = try Running(on: server)
      try await second.ready()
      looking.cancel()
      _ = try? await looking.value
      #expect(await second.onLoop { $0.memory.ring.offsets(of: Array("119".utf8)).count } == 1)
      #expect(await second.onLoop { $0.memory.ring.size } > 12_000_000)
      #expect(most.get() <= 2, "\(most.get()) pieces at a time")
      for gateway in [first, second] { await gateway.end() }
    }
  }

  @Test("a message that its gateway found too large is told, also by one with another bound")
  func large() async throws {
    try await RedisServer.with { server in
      let first = try Running(on: server, maxMessage: 100)
      let socket = Socket("42")
      try await socket.attach(to: first)
      try await publish("JOB:42:a", "1", on: server)
      try await socket.expect(["1"])
      await socket.leave()
      try await publish("JOB:42:a", String(repeating: "x", count: 500), "2", on: server)
      try await eventually("it has heard them") {
        await first.onLoop { $0.figures.messages } == 3
      }
      let second = try Running(on: server, maxMessage: 1000)
      #expect(try await socket.attach(to: second) == false)
      try await socket.expect(["1", "gap large", "2"])
      for gateway in [first, second] { await gateway.end() }
    }
  }
}
