import Foundation
import NIOCore
import NIOPosix
import PaasbusRedis
import Presence
import Synchronization
import TestSupport

/// What `serve` costs and stands.
extension Bench {
  func serving() async throws -> [Row] {
    let panel = try PanelUnderLoad(program, environment)
    try await panel.awaitListening()
    var rows = try await idleRows(panel)
    rows += try await requestRows(panel)
    rows += try await listenerRows(panel, count: 5000)
    panel.child.signal(SIGTERM)
    panel.child.end()
    return rows + (try await unreadRows(count: 20)) + (try await crowdRows(count: 10_000))
  }

  /// What a panel without readers costs.
  private func idleRows(_ panel: PanelUnderLoad) async throws -> [Row] {
    let watch = try Child([program, "watch", "--json"], environment: environment)
    defer {
      watch.signal(SIGTERM)
      watch.end()
    }
    try await Task.sleep(for: .seconds(6))
    let before = [panel.child.id, watch.id].map(wakeUps)
    try await Task.sleep(for: .seconds(30))
    let woken = zip([panel.child.id, watch.id], before).map { Double(wakeUps($0) - $1) * 2 }
    let resident = (try memory(panel.child.id)["Rss"] ?? 0) / 1024
    return [
      Row(what: "serve, idle: resident", own: Samples("MB", [resident])),
      Row(
        what: "serve, idle: wake-ups a minute", own: Samples("", [woken[0]]),
        peer: ("paasbus watch", Samples("", [woken[1]]))),
    ]
  }

  // MARK: Requests

  private func requestRows(_ panel: PanelUnderLoad) async throws -> [Row] {
    guard Child.isInstalled("wrk") else { return [] }
    var rows: [Row] = []
    let node = try await NodeServer.start()
    defer { node?.end() }
    for (path, type) in [("/healthz", ""), ("/", "a page"), ("/metrics", "")] {
      var (own, peer) = (Samples("/s"), Samples("/s"))
      for _ in 0..<3 {
        own.values.append(try await requestRate("http://127.0.0.1:\(panel.port)\(path)"))
        if let node { peer.values.append(try await requestRate("http://127.0.0.1:\(node.port)/")) }
      }
      rows.append(
        Row(
          what: "serve: requests of `\(path)`\(type.isEmpty ? "" : ", \(type)"), by wrk", own: own,
          peer: path == "/healthz" && node != nil ? ("node's http, empty answer", peer) : nil))
    }
    return rows
  }

  private func requestRate(_ url: String) async throws -> Double {
    let wrk = try ManagedProcess("wrk", ["-t1", "-c64", "-d4", url])
    _ = try await wrk.exitStatus()
    let line = wrk.lines.first { $0.hasPrefix("Requests/sec:") }
    return line?.split(separator: " ").last.flatMap { Double($0) } ?? 0
  }

  // MARK: Listeners

  private func listenerRows(_ panel: PanelUnderLoad, count: Int) async throws -> [Row] {
    let before = try memory(panel.child.id)["Rss"] ?? 0
    let listeners = try await EventListeners.connect(count, port: panel.port)
    try await Task.sleep(for: .seconds(1))
    let each = ((try memory(panel.child.id)["Rss"] ?? 0) - before) / Double(count)
    var last = Samples("ms")
    let transitions = Transitions(keys: Keys(app: "default"))
    try await link.connector.withConnection { connection in
      for _ in 0..<200 {
        let instance = Instance(app: "default", name: "w", lease: .seconds(300))
        let published = ContinuousClock.now
        _ = try await transitions.start(
          instance, elapsed: .zero, channel: nil, history: 1000, on: connection)
        last.add(try await listeners.lastArrival() - published)
      }
    }
    await listeners.close()
    return [
      Row(what: "serve: memory of each of \(count) listeners", own: Samples("kB", [each])),
      Row(what: "serve: an event at the last of \(count) listeners, median", own: last),
      Row(
        what: "serve: the same, 99th percentile",
        own: Samples("ms", [last.percentile(0.99)])),
    ]
  }

  // MARK: Large fleets

  private func crowdRows(count: Int) async throws -> [Row] {
    let keys = Keys(app: "default")
    try await link.connector.withConnection { connection in
      _ = try await connection.send(RedisCommand("FLUSHALL"))
      let transitions = Transitions(keys: keys)
      for number in 0..<count {
        let instance = Instance(app: "default", name: "web.\(number)", lease: .seconds(300))
        _ = try await transitions.start(
          instance, elapsed: .zero, channel: nil, history: 1000, on: connection)
      }
    }
    let panel = try PanelUnderLoad(program, environment)
    defer {
      panel.child.signal(SIGTERM)
      panel.child.end()
    }
    try await panel.awaitListening()
    let resident = (try memory(panel.child.id)["Rss"] ?? 0) / 1024
    let (load, task) = try await pageCosts(panel, keys)
    return [
      Row(what: "serve, \(count) instances: resident", own: Samples("MB", [resident])),
      Row(what: "serve, \(count) instances: the page is loaded in a browser", own: load),
      Row(
        what: "serve, \(count) instances: what an event costs the page in one go (0: less than 50)",
        own: task),
    ]
  }

  private func pageCosts(_ panel: PanelUnderLoad, _ keys: Keys) async throws -> (Samples, Samples) {
    var (load, task) = (Samples("ms"), Samples("ms"))
    try await Browser.with { browser in
      for _ in 0..<5 {
        try await browser.open("http://127.0.0.1:\(panel.port)/?sort=name&dir=desc")
        let time = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        try await eventually("the page is loaded") {
          try await (Double(browser.evaluate(time)) ?? 0) > 0
        }
        load.values.append(Double(try await browser.evaluate(time)) ?? 0)
      }
      // The browser tells of tasks that took longer than 50 ms.
      _ = try await browser.evaluate(
        "(window.longest = 0, new PerformanceObserver(list => { for (const entry of list.getEntries()) "
          + "window.longest = Math.max(window.longest, entry.duration) }).observe({ type: 'longtask' }))"
      )
      for number in 0..<10 {
        let instance = Instance(app: "default", name: "x.\(number)", lease: .seconds(300))
        try await link.connector.withConnection { connection in
          _ = try await Transitions(keys: keys).start(
            instance, elapsed: .zero, channel: nil, history: 1000, on: connection)
        }
        try await browser.waitFor("x.\(number)", in: "#rows")
        try await Task.sleep(for: .milliseconds(500))
        let longest = "((longest) => { window.longest = 0; return longest })(window.longest)"
        task.values.append(Double(try await browser.evaluate(longest)) ?? 0)
      }
    }
    return (load, task)
  }

  private func unreadRows(count: Int) async throws -> [Row] {
    var grown: [Double] = []
    for isRead in [true, false] { grown.append(try await growth(count, isRead: isRead)) }
    return [
      Row(
        what: "serve: memory that 28 MB of events took with \(count) listeners that do not read",
        own: Samples("MB", [grown[1]]), peer: ("with as many that do", Samples("MB", [grown[0]])))
    ]
  }

  private func growth(_ count: Int, isRead: Bool) async throws -> Double {
    try await link.connector.withConnection { _ = try await $0.send(RedisCommand("FLUSHALL")) }
    let panel = try PanelUnderLoad(program, environment)
    defer {
      panel.child.signal(SIGTERM)
      panel.child.end()
    }
    try await panel.awaitListening()
    var sockets: [RawSocket] = []
    for _ in 0..<count {
      let socket = try await RawSocket.connect(port: panel.port)
      await socket.send("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
      if !isRead { await socket.stopReading() }
      sockets.append(socket)
    }
    let before = Child.peakMemory(panel.child.id)
    let transitions = Transitions(keys: Keys(app: "default"))
    try await link.connector.withConnection { connection in
      for _ in 0..<4000 {
        var instance = Instance(app: "default", name: "w", lease: .seconds(300))
        instance.meta = ["filler": String(repeating: "x", count: 7000)]
        _ = try await transitions.start(
          instance, elapsed: .zero, channel: nil, history: 100, on: connection)
      }
    }
    try await Task.sleep(for: .seconds(2))
    let grown = Child.peakMemory(panel.child.id) - before
    for socket in sockets { await socket.close() }
    return grown
  }
}

/// A panel that is measured.
private final class PanelUnderLoad {
  let child: Child
  let port: Int

  init(_ program: String, _ environment: [String]) throws {
    port = try RedisServer.freePort()
    child = try Child(
      [program, "serve", "-q", "--app", "default", "--listen", "127.0.0.1:\(port)"],
      environment: environment)
  }

  func awaitListening() async throws {
    try await eventually("it listens") {
      await (try RawSocket.connect(port: port)).close()
      return true
    }
  }
}

/// Node's own HTTP server, which answers each request with nothing.
private final class NodeServer {
  let port: Int
  private let child: Child

  private init(port: Int) throws {
    self.port = port
    let script = "require('http').createServer((q, r) => r.end()).listen(\(port), '127.0.0.1')"
    child = try Child(
      ["node", "-e", script],
      environment: ManagedProcess.bareEnvironment.map { "\($0.key)=\($0.value)" })
  }

  static func start() async throws -> NodeServer? {
    guard Child.isInstalled("node") else { return nil }
    let server = try NodeServer(port: try RedisServer.freePort())
    try await eventually("node listens") {
      await (try RawSocket.connect(port: server.port)).close()
      return true
    }
    return server
  }

  func end() {
    child.signal(SIGTERM)
    child.end()
  }
}

/// Many listeners of one stream in this process, of which the last one's arrival counts.
private final class EventListeners: Sendable {
  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: EventListeners

    init(_ owner: EventListeners) { self.owner = owner }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      // A comment or the first answer is no event.
      let bytes = unwrapInboundIn(data).readableBytesView
      if bytes.contains(UInt8(ascii: "{")) { owner.arrived() }
    }
  }

  private struct State {
    var arrivals = 0
    var waiting: CheckedContinuation<ContinuousClock.Instant, Never>?
    var last: ContinuousClock.Instant?
  }

  private let count: Int
  private let state = Mutex(State())
  private let channels = Mutex<[any Channel]>([])

  private init(count: Int) { self.count = count }

  static func connect(_ count: Int, port: Int) async throws -> EventListeners {
    let listeners = EventListeners(count: count)
    let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let bootstrap = ClientBootstrap(group: loop).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(Handler(listeners))
      }
    }
    let request = ByteBuffer(
      string: "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in 0..<count {
      let channel = try await bootstrap.connect(host: "127.0.0.1", port: port).get()
      try await channel.writeAndFlush(request)
      listeners.channels.withLock { $0.append(channel) }
    }
    return listeners
  }

  private func arrived() {
    let now = ContinuousClock.now
    let waiting = state.withLock { state in
      state.arrivals += 1
      guard state.arrivals == count else {
        return nil as CheckedContinuation<ContinuousClock.Instant, Never>?
      }
      state.arrivals = 0
      if state.waiting == nil { state.last = now }
      return state.waiting.take()
    }
    waiting?.resume(returning: now)
  }

  /// When the last of them got the event under way.
  func lastArrival() async throws -> ContinuousClock.Instant {
    await withCheckedContinuation { continuation in
      let known = state.withLock { state in
        if let last = state.last.take() { return last as ContinuousClock.Instant? }
        state.waiting = continuation
        return nil
      }
      if let known { continuation.resume(returning: known) }
    }
  }

  func close() async {
    for channel in channels.withLock({ $0 }) { try? await channel.close().get() }
  }
}
