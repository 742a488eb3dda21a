import ExpressSessions
import Foundation
import NIOCore
import NIOPosix
import PaasbusRedis
import Synchronization
import TestSupport

/// What the relay carries, beside the tutorial's own handler on node-ws.
extension Bench {
  private static let users = 1000
  private static let secret = "keyboard cat"

  func relaying() async throws -> [Row] {
    guard Child.isInstalled("node"),
      ["redis", "ws"].allSatisfy({ Child.hasNodeModule($0) })
    else { return [] }
    for user in 0..<Self.users {
      try await server.command(
        "SET", "sess:session-of-user-\(user)", #"{"cookie":{},"user":{"id":\#(user)}}"#)
    }
    var rows: [Row] = []
    for sockets in [1, 1000] { rows += try await rateRows(sockets: sockets) }
    rows += try await memoryRows(sockets: 10_000)
    rows += try await stormRows(sockets: 5000)
    return rows
  }

  /// Runs `body` with our gateway, then with the peer.
  private func withEach<Result>(
    _ body: (RelayTarget) async throws -> Result
  ) async throws -> (own: Result, peer: Result) {
    let own = try await RelayTarget.gateway(program, environment)
    let first = try await body(own)
    await own.end()
    let peer = try await RelayTarget.node(server)
    let second = try await body(peer)
    await peer.end()
    return (first, second)
  }

  private func path(_ user: Int, _ target: RelayTarget, more: String = "") -> (String, String) {
    guard target.isOwn else { return ("/?user=\(user)", "") }
    let cookie = SessionSecrets([Self.secret])?.cookie(for: SessionID("session-of-user-\(user)"))
    return ("/relay?raw=1\(more)", "Cookie: connect.sid=\(cookie ?? "")\r\n")
  }

  private func rateRows(sockets: Int) async throws -> [Row] {
    var (own, peer) = (Samples("/s"), Samples("/s"))
    var (ownCost, peerCost) = (Samples("µs"), Samples("µs"))
    var (ownDelay, peerDelay) = (Samples("ms"), Samples("ms"))
    for _ in 0..<3 {
      let results = try await withEach { target in
        let crowd = try await RelayCrowd.connect(sockets, port: target.port) {
          path($0, target)
        }
        let rate = try await rate(target, crowd, sockets)
        let delays = try await delays(crowd, sockets)
        await crowd.close()
        return (rate, delays)
      }
      own.values.append(results.own.0.rate)
      peer.values.append(results.peer.0.rate)
      ownCost.values.append(results.own.0.processor)
      peerCost.values.append(results.peer.0.processor)
      ownDelay.values += results.own.1
      peerDelay.values += results.peer.1
    }
    let name = "node-ws, the tutorial's handler"
    return [
      Row(what: "relay: messages to \(sockets) sockets", own: own, peer: (name, peer)),
      Row(
        what: "relay: its processor for each of them", own: ownCost, peer: (name, peerCost)),
      Row(
        what: "relay: PUBLISH until it is received, among \(sockets) sockets, 99th percentile",
        own: Samples("ms", [ownDelay.percentile(0.99)]),
        peer: (name, Samples("ms", [peerDelay.percentile(0.99)]))),
    ]
  }

  /// How many messages a second reach their sockets.
  ///
  /// - Returns: also what each took of the target's processor, in µs.
  private func rate(
    _ target: RelayTarget, _ crowd: RelayCrowd, _ sockets: Int
  ) async throws -> (rate: Double, processor: Double) {
    let used = target.processorSeconds
    let count = 100_000
    let before = crowd.received
    let begun = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<2 {
        group.addTask { [link] in
          try await link.connector.withConnection { connection in
            for first in stride(from: 0, to: count / 2, by: 500) {
              _ = try await connection.pipeline(
                (first..<(first + 500)).map {
                  RedisCommand(
                    "PUBLISH", "JOB:\(($0 + worker) % sockets):report", "the result of job \($0)")
                })
              // So far ahead that it is always busy, and not so far that it gives a socket up.
              while 2 * first - (crowd.received - before) > 4000 {
                try await Task.sleep(for: .microseconds(200))
              }
            }
          }
        }
      }
      try await group.waitForAll()
    }
    try await eventually("all are received", within: .seconds(60)) {
      crowd.received - before >= count
    }
    return (
      Double(count) / ((crowd.lastArrival - begun) / .seconds(1)),
      (target.processorSeconds - used) * 1_000_000 / Double(count)
    )
  }

  private func delays(_ crowd: RelayCrowd, _ sockets: Int) async throws -> [Double] {
    var delays: [Double] = []
    try await link.connector.withConnection { connection in
      for number in 0..<300 {
        let before = crowd.received
        let published = ContinuousClock.now
        _ = try await connection.send(
          RedisCommand("PUBLISH", "JOB:\(number * 7 % sockets):report", "x"))
        try await eventually("it is received") { crowd.received > before }
        delays.append((crowd.lastArrival - published) / .milliseconds(1))
      }
    }
    return delays
  }

  private func memoryRows(sockets: Int) async throws -> [Row] {
    let results = try await withEach { target in
      let before = try memory(target.child.id)["Rss"] ?? 0
      let crowd = try await RelayCrowd.connect(sockets, port: target.port) {
        path($0 % Self.users, target)
      }
      try await Task.sleep(for: .seconds(1))
      let each = ((try memory(target.child.id)["Rss"] ?? 0) - before) / Double(sockets)
      await crowd.close()
      return each
    }
    return [
      Row(
        what: "relay: memory of each of \(sockets) sockets", own: Samples("kB", [results.own]),
        peer: ("node-ws", Samples("kB", [results.peer])))
    ]
  }

  private func stormRows(sockets: Int) async throws -> [Row] {
    var (own, peer) = (Samples("ms"), Samples("ms"))
    let results = try await withEach { target -> [Double] in
      var times: [Double] = []
      for _ in 0..<3 {
        let begun = ContinuousClock.now
        let crowd = try await RelayCrowd.connect(sockets, port: target.port, atOnce: true) {
          path($0 % Self.users, target)
        }
        times.append((ContinuousClock.now - begun) / .milliseconds(1))
        await crowd.close()
        try await Task.sleep(for: .seconds(1))
      }
      return times
    }
    own.values = results.own
    peer.values = results.peer
    return [
      Row(
        what: "relay: \(sockets) browsers that reconnect at once, until all are connected",
        own: own,
        peer: ("node-ws, without a log-in", peer))
    ]
  }
}

/// What is measured: a gateway of ours, or the tutorial's handler.
private final class RelayTarget {
  let child: Child
  let port: Int
  let isOwn: Bool

  private init(_ child: Child, port: Int, isOwn: Bool) async throws {
    (self.child, self.port, self.isOwn) = (child, port, isOwn)
    try await eventually("it is ready") {
      guard isOwn else {
        await (try RawSocket.connect(port: port)).close()
        return true
      }
      return try await HTTPAnswer.to("/readyz", port: port).status == 200
    }
  }

  static func gateway(_ program: String, _ environment: [String]) async throws -> RelayTarget {
    let port = try RedisServer.freePort()
    let child = try Child(
      [
        program, "serve", "-q", "--app", "shop", "--relay", "--listen", "127.0.0.1:\(port)",
        "--max-sockets-per-user", "100", "--max-sockets", "20000",
      ], environment: environment + ["PAASBUS_SESSION_SECRET=keyboard cat"])
    return try await RelayTarget(child, port: port, isOwn: true)
  }

  /// One subscription for all users; a message goes to the sockets of the user that its channel names.
  static func node(_ server: RedisServer) async throws -> RelayTarget {
    let port = try RedisServer.freePort()
    let script = """
      const { WebSocketServer } = require('ws'), { createClient } = require('redis')
      const users = new Map()
      const server = new WebSocketServer({ port: \(port), host: '127.0.0.1', backlog: 4096 })
      server.on('connection', (socket, request) => {
        const user = new URL(request.url, 'http://x').searchParams.get('user')
        if (!users.has(user)) users.set(user, new Set())
        users.get(user).add(socket)
        socket.on('close', () => users.get(user).delete(socket))
      })
      const client = createClient({ socket: { path: '\(server.socketPath)' } })
      client.connect().then(() => client.pSubscribe('JOB:*', (message, channel) => {
        for (const socket of users.get(channel.split(':')[1]) || []) socket.send(message)
      }))
      """
    let environment = ManagedProcess.bareEnvironment.map { "\($0.key)=\($0.value)" }
    let child = try Child(
      ["node", "-e", script], environment: environment + ["NODE_PATH=/usr/share/nodejs"])
    return try await RelayTarget(child, port: port, isOwn: false)
  }

  /// How long it has used a processor.
  var processorSeconds: Double {
    let text = (try? String(contentsOfFile: "/proc/\(child.id)/stat", encoding: .utf8)) ?? ""
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    let ticks = [11, 12].reduce(0) { $0 + (fields.count > $1 ? Int(fields[$1]) ?? 0 : 0) }
    return Double(ticks) / 100
  }

  func end() async {
    child.signal(SIGKILL)
    child.end()
  }
}

/// Many WebSockets in this process, of which only the messages are counted.
private final class RelayCrowd: Sendable {
  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: RelayCrowd
    private var isOpen = false
    private var rest = ByteBuffer()

    init(_ owner: RelayCrowd) { self.owner = owner }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var bytes = unwrapInboundIn(data)
      rest.writeBuffer(&bytes)
      if !isOpen {
        let view = rest.readableBytesView
        guard let end = view.firstRange(of: Array("\r\n\r\n".utf8))?.upperBound else { return }
        rest.moveReaderIndex(forwardBy: end - view.startIndex)
        isOpen = true
        owner.opened.add(1, ordering: .relaxed)
      }
      var count = 0
      while let length = rest.getInteger(at: rest.readerIndex + 1, as: UInt8.self) {
        // Only short messages are sent here.
        guard rest.readableBytes >= 2 + Int(length & 0x7F) else { break }
        rest.moveReaderIndex(forwardBy: 2 + Int(length & 0x7F))
        count += 1
      }
      rest.discardReadBytes()
      if count > 0 { owner.arrived(count) }
    }
  }

  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let channels = Mutex<[any Channel]>([])
  private let opened = Atomic(0)
  private let state = Mutex((received: 0, last: ContinuousClock.now))

  var received: Int { state.withLock { $0.received } }
  var lastArrival: ContinuousClock.Instant { state.withLock { $0.last } }

  private func arrived(_ count: Int) {
    state.withLock {
      $0.received += count
      $0.last = .now
    }
  }

  /// - Parameters:
  ///   - atOnce: connect without waiting for each other.
  ///   - request: path and headers of each.
  static func connect(
    _ count: Int, port: Int, atOnce: Bool = false, _ request: (Int) -> (String, String)
  ) async throws -> RelayCrowd {
    let crowd = RelayCrowd()
    let bootstrap = ClientBootstrap(group: crowd.group).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(Handler(crowd))
      }
    }
    for first in stride(from: 0, to: count, by: atOnce ? count : 100) {
      let futures = (first..<min(count, first + (atOnce ? count : 100))).map { number in
        let (path, headers) = request(number)
        let text =
          "GET \(path) HTTP/1.1\r\nHost: localhost:\(port)\r\nUpgrade: websocket\r\n"
          + "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\(headers)\r\n"
        return bootstrap.connect(host: "127.0.0.1", port: port).flatMap { channel in
          channel.writeAndFlush(ByteBuffer(string: text)).map { channel }
        }
      }
      for future in futures {
        let channel = try await future.get()
        crowd.channels.withLock { $0.append(channel) }
      }
    }
    try await eventually("all are open", within: .seconds(60)) {
      crowd.opened.load(ordering: .relaxed) == count
    }
    // Attaching comes right behind the handshake.
    try await Task.sleep(for: .milliseconds(atOnce ? 0 : 300))
    return crowd
  }

  func close() async {
    for channel in channels.withLock({ $0 }) { try? await channel.close().get() }
    try? await group.shutdownGracefully()
  }
}
