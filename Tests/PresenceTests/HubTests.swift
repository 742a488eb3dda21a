import Foundation
import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

@Suite("Hub")
struct HubTests {
  private func with(
    options: Watcher.Options = .roster,
    _ body: (RedisServer, Hub, Transitions) async throws -> Void
  ) async throws {
    try await RedisServer.with { server in
      let hub = Hub(Watcher(app: "shop", connector: server.connector, options: options))
      try await body(server, hub, Transitions(keys: Keys(app: "shop")))
    }
  }

  /// How many connections the server has taken so far, with the one that asks.
  private func connections(_ server: RedisServer) async throws -> Int {
    let text = try await server.command("INFO", "stats").string ?? ""
    let number = text.firstMatch(of: /total_connections_received:(\d+)/)?.1
    return try #require(number.flatMap { Int($0) })
  }

  private func instance(_ name: String) -> Instance {
    Instance(app: "shop", name: name, lease: .seconds(15))
  }

  @Test("one watch feeds many readers: of outputs, each in order, and of the state")
  func readers() async throws {
    try await with { server, hub, transitions in
      let run = Task { try await hub.run() }
      let readers = [hub.addQueue(), hub.addQueue()].map { queue in
        Task {
          var numbers: [Int64] = []
          while let batch = await queue.next() {
            for case .event(let event, _) in batch { numbers.append(event.position.seq) }
          }
          return numbers
        }
      }
      try await eventually("it watches") { hub.state.channel != nil }
      let one = instance("one")
      try await server.connector.withConnection { connection in
        _ = try await transitions.start(
          one, elapsed: .zero, channel: nil, history: 1000, on: connection)
        for number in 0..<20 {
          _ = try await transitions.start(
            instance("w\(number)"), elapsed: .zero, channel: nil, history: 1000, on: connection)
        }
        _ = try await transitions.stop(
          one, elapsed: .zero, stop: .init(reason: "SIGTERM"), on: connection)
      }
      try await eventually("all is told") { hub.state.position?.seq == 22 }
      let state = hub.state
      #expect(state.instances.count == 20)
      #expect(state.counts.events == [.start: 21, .stop: 1])
      #expect(state.position?.seq == 22 && state.events.last?.type == .stop)
      run.cancel()
      try await run.value
      for reader in readers { #expect(await reader.value == Array(1...22)) }
    }
  }

  @Test("a connection that breaks is told, and counted once it is back")
  func reconnects() async throws {
    try await with { server, hub, _ in
      let run = Task { try await hub.run() }
      try await eventually("it watches") { hub.state.channel == "instances" }
      let lost = Task {
        for await _ in hub.changes() where hub.state.connection.isLost { return true }
        return false
      }
      try await server.command("CLIENT", "KILL", "TYPE", "pubsub")
      #expect(await lost.value)
      try await eventually("it is back") { hub.state.counts.reconnects == 1 }
      #expect(!hub.state.connection.isLost)
      run.cancel()
      try await run.value
    }
  }

  @Test("when each instance last said that it is there is read on the watch's own connection")
  func leases() async throws {
    var options = Watcher.Options.roster
    options.readsLeases = true
    try await with(options: options) { server, hub, transitions in
      let one = instance("one")
      try await server.connector.withConnection { connection in
        _ = try await transitions.start(
          one, elapsed: .zero, channel: nil, history: 1000, on: connection)
      }
      let run = Task { try await hub.run() }
      try await eventually("it is there") { hub.state.instances.first?.leaseEnd != nil }
      let before = try await connections(server)
      for end: Int64 in [9_000_000_000_000, 9_000_000_000_001, 9_000_000_000_002] {
        try await server.command("ZADD", Keys(app: "shop").leases, "\(end)", one.id)
        try await eventually("its lease is renewed") {
          hub.state.instances.first?.leaseEnd == end
        }
      }
      // Of new connections there were only those of this test.
      #expect(try await connections(server) == before + 4)
      run.cancel()
      try await run.value
    }
  }

  @Test("where no roster is kept, only the position is")
  func bare() async throws {
    try await with(options: Watcher.Options()) { server, hub, transitions in
      let run = Task { try await hub.run { _ in } }
      try await eventually("it watches") { hub.state.channel != nil }
      try await server.connector.withConnection { connection in
        _ = try await transitions.start(
          instance("one"), elapsed: .zero, channel: nil, history: 1000, on: connection)
      }
      try await eventually("the event is told") { hub.state.position?.seq == 1 }
      #expect(hub.state.instances.isEmpty && hub.state.events.isEmpty)
      run.cancel()
      try await run.value
    }
  }

  @Test("a reader that is cancelled while something changes stops neither itself nor the hub")
  func cancelledReaders() async throws {
    try await with { _, hub, _ in
      // Changes come from a thread of their own, so that two that wait for each other leave one to notice it.
      let isOver = Mutable(false)
      let changes = Thread { while !isOver.get() { hub.notify(.cannotReap) } }
      changes.start()
      let ended = Mutable(0)
      let readers = Task {
        for _ in 0..<20_000 {
          let reader = Task { for await _ in hub.changes() { await Task.yield() } }
          await Task.yield()
          reader.cancel()
          await reader.value
          ended.update { $0 += 1 }
        }
      }
      try await eventually("all readers have ended: \(ended.get())") { ended.get() == 20_000 }
      isOver.set(true)
      await readers.value
    }
  }

  @Test("the last events are kept, and no more than so many")
  func events() {
    var state = HubState(app: "shop")
    for seq in 1...Int64(10 * HubState.maxEvents) {
      var one = instance("one")
      one.started = 1000
      let event = Event(
        type: .start, position: Position(epoch: 1, seq: seq), at: 1000 + seq, instance: one)
      state.receive([.event(event, .live)], keepsRoster: true)
    }
    #expect((HubState.maxEvents...2 * HubState.maxEvents).contains(state.events.count))
    #expect(state.events.last?.position.seq == Int64(10 * HubState.maxEvents))
  }
}
