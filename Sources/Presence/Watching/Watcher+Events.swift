import PaasbusRedis

extension Watcher {
  /// The instances that are there now, in the order in which they began.
  ///
  /// - Throws: `RedisError`.
  public func present() async throws -> [InstanceStatus] {
    guard let app = try await knownApp() else { return [] }
    let keys = Keys(app: app)
    let snapshot = try await connector.routed(to: keys.bus).withConnection { connection in
      try await Snapshot.read(keys: keys, on: connection)
    }
    return snapshot.instances.filter(\.isPresent)
  }

  private func knownApp() async throws -> String? {
    if let app { return app }
    let list = try await connector.routed(to: Keys.apps).withConnection { connection in
      try await connection.send(RedisCommand("ZRANGE", Keys.apps, "0", "0"))
    }
    return list.elements.first?.string
  }

  /// The events as they happen, each once and in order, across lost connections; with
  /// ``Options/since``, the history before them.
  ///
  /// Ends when the task that iterates is cancelled. Iterating throws ``PresenceError`` when the first contact
  /// fails.
  public var events: Events { Events(watcher: self) }

  /// The events of a watch; each iteration is a watch of its own.
  public struct Events: AsyncSequence, Sendable {
    /// One event.
    public typealias Element = Event
    let watcher: Watcher

    /// Begins a watch.
    public func makeAsyncIterator() -> Iterator {
      var watcher = watcher
      watcher.options.showsSnapshot = false
      return Iterator(watch: EventWatch(watcher))
    }

    /// A watch under way, which ends together with its iterator.
    public struct Iterator: AsyncIteratorProtocol {
      fileprivate let watch: EventWatch
      private var batch: ArraySlice<WatchOutput> = []

      fileprivate init(watch: EventWatch) { self.watch = watch }

      /// The next event; nil once the task is cancelled.
      public mutating func next() async throws -> Event? {
        while true {
          while let output = batch.popFirst() {
            if case .event(let event, _) = output { return event }
          }
          guard let next = try await watch.next() else { return nil }
          batch = next[...]
        }
      }
    }
  }
}

/// A watch that lasts as long as its events are iterated over.
private final class EventWatch: Sendable {
  private let output: OutputQueue
  private let task: Task<Void, any Error>

  init(_ watcher: Watcher) {
    let hub = Hub(watcher)
    output = hub.addQueue()
    task = Task { try await hub.run() }
  }

  deinit { task.cancel() }

  func next() async throws -> [WatchOutput]? {
    let batch = await withTaskCancellationHandler {
      await output.next()
    } onCancel: {
      task.cancel()
    }
    if batch == nil { try await task.value }
    return batch
  }
}
