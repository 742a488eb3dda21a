import Foundation
import PaasbusRedis
import TestSupport

/// Short runs: starting, announcing, stopping, being killed, wrapping.
extension Bench {
  func startup() throws -> [Row] {
    var (own, peer) = (Samples("ms"), Samples("ms"))
    for _ in 0..<runs * 5 {
      own.add(try Child([program, "--version"], environment: environment).end().time)
      peer.add(try Child(["redis-cli", "--version"], environment: environment).end().time)
    }
    return [Row(what: "startup: `--version`", own: own, peer: ("redis-cli", peer))]
  }

  func wrap() throws -> [Row] {
    let peers = ["tini", "dumb-init"].filter(Child.isInstalled)
    var own = Samples("ms")
    var others = peers.map { _ in Samples("ms") }
    func time(_ words: [String]) throws -> Duration {
      try Child(words + ["--", "/bin/true"], environment: environment).end().time
    }
    for _ in 0..<runs * 2 {
      own.add(try time([program, "announce", "-q"]))
      for index in peers.indices { others[index].add(try time([peers[index]])) }
    }
    guard !peers.isEmpty else { return [Row(what: "wrap: `announce -- /bin/true`", own: own)] }
    return zip(peers, others).map {
      Row(what: "wrap: `announce -- /bin/true`", own: own, peer: ($0, $1))
    }
  }

  /// Runs `body` with what waits for the next message on the bus's channel that holds a text.
  private func withMessages(
    _ body: (_ next: (String) async throws -> ContinuousClock.Instant) async throws -> Void
  ) async throws {
    try await link.connector.withSubscription(to: ["instances"]) { subscription in
      try await body { text in
        let wanted = Array(text.utf8)
        while case .messages(let batch) = await subscription.next(within: .seconds(20)) {
          let now = ContinuousClock.now
          if batch.contains(where: { $0.payload?.firstRange(of: wanted) != nil }) { return now }
        }
        throw Silence(text: text)
      }
    }
  }

  func announce() async throws -> [Row] {
    var (own, peer) = (Samples("ms"), Samples("ms"))
    try await withMessages { next in
      for _ in 0..<runs {
        let announcer = try Child([program, "announce", "-q"], environment: environment)
        own.add(try await next("\"type\":\"start\"") - announcer.begun)
        announcer.signal(SIGTERM)
        _ = try await next("\"type\":\"stop\"")
        announcer.end()
        let publish = try Child(
          link.redisCLI("PUBLISH", "instances", "peer"),
          environment: environment)
        peer.add(try await next("peer") - publish.begun)
        publish.end()
      }
    }
    var rows = [
      Row(
        what: "announce: process start → `start` at a subscriber", own: own,
        peer: ("redis-cli publish", peer))
    ]
    if let serf = try await Serf.measure(runs: max(3, runs / 4)) {
      rows.append(Row(what: "announce: the same", own: own, peer: ("serf member-join", serf.join)))
    }
    return rows
  }

  func stop() async throws -> [Row] {
    var (told, gone) = (Samples("ms"), Samples("ms"))
    try await withMessages { next in
      for _ in 0..<runs {
        let announcer = try Child([program, "announce", "-q"], environment: environment)
        _ = try await next("\"type\":\"start\"")
        let asked = ContinuousClock.now
        announcer.signal(SIGTERM)
        told.add(try await next("\"type\":\"stop\"") - asked)
        announcer.end()
        gone.add(.now - asked)
      }
    }
    let serf = try await Serf.measure(runs: max(3, runs / 4))
    return [
      Row(
        what: "stop: SIGTERM → `stop` at a subscriber", own: told,
        peer: serf.map { ("serf leave", $0.leave) }),
      Row(what: "stop: SIGTERM → process gone", own: gone),
    ]
  }

  func kill() async throws -> [Row] {
    var own = Samples("ms")
    let watch = try Child([program, "watch", "--json"], environment: environment)
    try await withMessages { next in
      for _ in 0..<max(3, runs / 4) {
        let announcer = try Child([program, "announce", "-q"], environment: environment)
        _ = try await next("\"type\":\"start\"")
        // Until the watcher has seen its connection.
        try await Task.sleep(for: .seconds(2))
        let killed = ContinuousClock.now
        announcer.signal(SIGKILL)
        own.add(try await next("\"type\":\"lost\"") - killed)
        announcer.end()
      }
    }
    watch.signal(SIGTERM)
    watch.end()
    let serf = try await Serf.measure(runs: 1, kills: 3)
    return [
      Row(
        what: "kill: SIGKILL → `lost`", own: own,
        peer: serf.map { ("serf member-failed", $0.failed) })
    ]
  }
}

struct Silence: Error, CustomStringConvertible {
  var text: String
  var description: String { "nothing with \(text) came within 20 s" }
}

/// A Serf cluster of two agents on the loopback, one of which watches.
private enum Serf {
  struct Figures {
    var join = Samples("ms")
    var leave = Samples("ms")
    var failed = Samples("ms")
  }

  /// nil where there is no serf.
  static func measure(runs: Int, kills: Int = 0) async throws -> Figures? {
    guard Child.isInstalled("serf") else { return nil }
    let (port, rpc) = (try RedisServer.freePort(), try RedisServer.freePort())
    let watcher = try ManagedProcess(
      "serf",
      ["agent", "-node=watcher", "-bind=127.0.0.1:\(port)", "-rpc-addr=127.0.0.1:\(rpc)"])
    defer { watcher.signal(SIGKILL) }
    try await eventually("serf runs") { watcher.output.contains("EventMemberJoin: watcher") }
    var figures = Figures()
    for number in 0..<runs + kills {
      let (ownPort, ownRPC) = (try RedisServer.freePort(), try RedisServer.freePort())
      let name = "node\(number)"
      let begun = ContinuousClock.now
      let agent = try Child(
        [
          "serf", "agent", "-node=\(name)", "-bind=127.0.0.1:\(ownPort)",
          "-rpc-addr=127.0.0.1:\(ownRPC)", "-join=127.0.0.1:\(port)",
        ], environment: ["PATH=/usr/bin:/bin"])
      figures.join.add(try await said("EventMemberJoin: \(name)", by: watcher) - begun)
      let asked = ContinuousClock.now
      if number < runs {
        let leave = try Child(
          ["serf", "leave", "-rpc-addr=127.0.0.1:\(ownRPC)"], environment: ["PATH=/usr/bin:/bin"])
        figures.leave.add(try await said("EventMemberLeave: \(name)", by: watcher) - asked)
        leave.end()
        agent.signal(SIGKILL)
      } else {
        agent.signal(SIGKILL)
        figures.failed.add(try await said("EventMemberFailed: \(name)", by: watcher) - asked)
      }
      agent.end()
    }
    return figures
  }

  private static func said(
    _ text: String, by process: ManagedProcess
  ) async throws -> ContinuousClock.Instant {
    while !process.output.contains(text) {
      guard process.isRunning else { throw Silence(text: text) }
      try await Task.sleep(for: .microseconds(200))
    }
    return .now
  }
}
