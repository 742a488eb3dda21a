@preconcurrency import Dispatch
import PaasbusRedis
import Presence
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `top` under way: news, leases and keys change the model, and whatever has changed is drawn.
final class Top: Sendable {
  /// At most 20 times a second.
  private static let redrawInterval = Duration.milliseconds(50)
  private static let leaseInterval = Duration.seconds(1)
  /// More leases than these are not read every second.
  private static let manyLeases = 20_000
  /// So many of the last events are searched for those of one instance.
  private static let mostSearched = 5000

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

  /// Runs until it is quit or the task is cancelled.
  ///
  /// - Throws: `RedisError` where the first contact fails.
  func run(app: String?) async throws {
    var options = Watcher.Options()
    options.channel = setup.channel
    options.showsSnapshot = false
    options.confirmsEvents = true
    options.tellsWholes = true
    let (apps, found) = AsyncStream<String>.makeStream()
    let watcher = Watcher(app: app, connector: connector, options: options) { notice in
      if case .watching(let app, _) = notice { found.yield(app) }
      self.take(notice)
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await watcher.run { batch in
          self.update { model in
            for output in batch { model.take(output) }
          }
        }
      }
      group.addTask { try await self.draw() }
      group.addTask { await self.followKeys() }
      group.addTask {
        for await app in apps { return await self.followLeases(of: app) }
        try await Task.sleep(for: .seconds(Int32.max))
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func take(_ notice: Watcher.Notice) {
    update { model in
      switch notice {
      case .waitingForBus: model.connection = .waiting
      case .watching(let app, _): (model.app, model.connection) = (app, .connected)
      case .connectionLost: model.connection = .lost
      case .connectionBack: model.connection = .connected
      case .cannotReap, .otherApp, .manyOtherApps: break
      }
    }
  }

  // MARK: Drawing

  private func draw() async throws {
    for await _ in changes {
      let size = TerminalSize.of(STDOUT_FILENO) ?? TerminalSize(columns: 80, rows: 24)
      let rendering = TopRendering(typography: typography, size: size)
      try screen.draw(model.withLock { rendering.rows(&$0) })
      try await Task.sleep(for: Self.redrawInterval)
    }
  }

  // MARK: Leases

  /// Reads the leases again and again, and has ages redrawn.
  private func followLeases(of app: String) async {
    let keys = Keys(app: app)
    let connector = connector.routed(to: keys.bus)
    while !Task.isCancelled {
      // Whatever fails is said by the watcher, which has it too.
      try? await connector.withConnection { connection in
        while !Task.isCancelled {
          let leases = try await Leases.read(keys: keys, on: connection)
          update { $0.take(leases) }
          let isMuch = leases.ends.count > Self.manyLeases
          try await Task.sleep(for: Self.leaseInterval * (isMuch ? 5 : 1))
        }
      }
      changed.yield()
      try? await Task.sleep(for: Self.leaseInterval)
    }
  }

  // MARK: Keys

  /// Returns when it is quit.
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
        // Nobody can type any more.
        guard count > 0 else { return typed.finish() }
        typed.yield(Array(buffer[..<count]))
      }
    }
    return stream
  }

  private func readEvents(of id: String) async {
    let keys = Keys(app: model.withLock(\.app))
    var found: [Event] = []
    var searched = 0
    _ = try? await connector.routed(to: keys.bus).withConnection { connection in
      try await History(keys: keys).readBackwards(on: connection) { page in
        searched += page.count
        found += page.compactMap { Event.read($0.bytes) }.filter { $0.instance.id == id }
        return found.count < TopModel.mostEvents && searched < Self.mostSearched
      }
    }
    update { [found] in $0.take(events: found.reversed(), of: id) }
  }
}
