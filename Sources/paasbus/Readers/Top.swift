@preconcurrency import Dispatch
import PaasbusRedis
import Presence
import Synchronization
import Terminal
import Views

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A running `top`. News, leases and keys change the model, and changes are drawn.
final class Top: Sendable {
  /// At most 20 times a second.
  private static let redrawInterval = Duration.milliseconds(50)
  private static let tick = Duration.seconds(1)
  /// How many of the last events are searched for those of one instance.
  private static let maxSearched = 5000

  private let setup: Setup
  private let connector: RedisConnector
  private let typography: Typography
  private let model: Mutex<TopModel>
  private let changes: AsyncStream<Void>
  private let changed: AsyncStream<Void>.Continuation
  let screen: Screen

  init(setup: Setup, connector: RedisConnector, typography: Typography) {
    self.setup = setup
    self.connector = connector
    self.typography = typography
    model = Mutex(TopModel())
    let (changes, changed) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    (self.changes, self.changed) = (changes, changed)
    screen = Screen { changed.yield() }
  }

  private func update<Result: Sendable>(
    _ change: (inout sending TopModel) -> sending Result
  ) -> Result {
    defer { changed.yield() }
    return model.withLock(change)
  }

  /// Runs until the user quits or the task is cancelled.
  ///
  /// - Throws: `RedisError` where the first contact fails.
  func run(app: String?) async throws {
    var options = Watcher.Options.roster
    options.channel = setup.channel
    options.readsLeases = true
    let hub = Hub(Watcher(app: app, connector: connector, options: options))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await hub.observe { state in self.update { $0.receive(state) } }
      }
      group.addTask { try await self.draw() }
      group.addTask { await self.followKeys() }
      // The leases that are read each second are drawn, and with them the ages, which change even while there is no
      // connection.
      group.addTask {
        while true {
          try await self.connector.thread.sleep(toTickWithin: Self.tick)
          if self.model.withLock(\.hub.connection.isLost) { self.changed.yield() }
        }
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  // MARK: Drawing

  private func draw() async throws {
    var drawn: ContinuousClock.Instant?
    for await _ in changes {
      if let drawn, .now - drawn < Self.redrawInterval {
        try await connector.thread.sleep(for: drawn + Self.redrawInterval - .now)
      }
      drawn = .now
      let size = TerminalSize.of(STDOUT_FILENO) ?? TerminalSize(columns: 80, rows: 24)
      let rendering = TopRendering(typography: typography, size: size)
      guard try !screen.draw(model.withLock { rendering.rows(&$0) }) else { continue }
      try await StandardStreams.patiently { [screen] in try screen.finish() }
    }
  }

  // MARK: Keys

  /// Returns when the user quits.
  private func followKeys() async {
    var decoder = KeyDecoder()
    for await bytes in Self.typed() {
      for key in decoder.decode(bytes) {
        switch update({ $0.press(key) }) {
        case .quit: return
        case .suspend: kill(getpid(), SIGTSTP)
        case .readEvents(let id): Task { await readEvents(of: id) }
        case nil: break
        }
      }
    }
  }

  private static func typed() -> AsyncStream<[UInt8]> {
    let (stream, typed) = AsyncStream<[UInt8]>.makeStream()
    DispatchQueue(label: "keys").async {
      var buffer = [UInt8](repeating: 0, count: 1024)
      while true {
        let count = StandardStreams.readInput(&buffer)
        // Standard input has ended, so no more keys will come.
        guard count > 0 else { return typed.finish() }
        typed.yield(Array(buffer[..<count]))
      }
    }
    return stream
  }

  private func readEvents(of id: String) async {
    let keys = Keys(app: model.withLock { $0.hub.app ?? "" })
    var found: [Event] = []
    var searched = 0
    _ = try? await connector.routed(to: keys.bus).withConnection { connection in
      try await History(keys: keys).readBackwards(on: connection) { page in
        searched += page.count
        found += page.compactMap { Event.read($0.bytes) }.filter { $0.instance.id == id }
        return found.count < TopModel.maxEvents && searched < Self.maxSearched
      }
    }
    update { [found] in $0.receive(events: found.reversed(), of: id) }
  }
}
