import PaasbusRedis
import Synchronization

/// One watch of a bus, and all who want to know of it.
///
/// A reader either takes every output in its order (``run(_:)``), or looks at the ``state`` whenever something
/// has changed (``changes()``). Where a reader of outputs stalls, the watch waits with what it tells, but goes on
/// to look after the instances.
public final class Hub: Sendable {
  private struct Readers: Sendable {
    var state: HubState
    var queues: [OutputQueue] = []
    var changes: [Int: AsyncStream<Void>.Continuation] = [:]
    var nextID = 0
  }

  let watcher: Watcher
  private let readers: Mutex<Readers>

  /// - Parameter watcher: which bus is watched, and how.
  public init(_ watcher: Watcher) {
    self.watcher = watcher
    readers = Mutex(Readers(state: HubState(app: watcher.app)))
  }

  /// What is known now.
  public var state: HubState { readers.withLock(\.state) }

  /// Says that something has changed, once for all that has changed since the last look, and once at the
  /// beginning.
  public func changes() -> AsyncStream<Void> {
    let (stream, changed) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let id = readers.withLock { readers in
      readers.nextID += 1
      readers.changes[readers.nextID] = changed
      return readers.nextID
    }
    changed.onTermination = { [weak self] _ in
      _ = self?.readers.withLock { $0.changes.removeValue(forKey: id) }
    }
    changed.yield()
    return stream
  }

  /// Watches until the task is cancelled.
  ///
  /// - Throws: ``PresenceError`` when the first contact fails. Later failures are followed by new attempts,
  ///   for ever.
  public func run() async throws {
    defer { finish() }
    try await WatchLoop(hub: self).run()
  }

  /// Watches, and hands over batches of output, in order, until the task is cancelled.
  ///
  /// - Throws: ``PresenceError`` when the first contact fails; what `show` throws.
  public func run(_ show: ([WatchOutput]) async throws -> Void) async throws {
    let queue = addQueue()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.run() }
      while let batch = await queue.next() { try await show(batch) }
      try await group.waitForAll()
    }
  }

  /// Watches, and hands over what is known at the beginning and after each change, or after several, until
  /// the task is cancelled.
  ///
  /// - Throws: ``PresenceError`` when the first contact fails; what `look` throws.
  public func observe(_ look: (HubState) async throws -> Void) async throws {
    let changes = changes()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.run() }
      for await _ in changes { try await look(state) }
      try await group.waitForAll()
    }
  }

  /// A reader of every output, which stays until the hub is gone.
  func addQueue() -> OutputQueue {
    let queue = OutputQueue()
    readers.withLock { $0.queues.append(queue) }
    return queue
  }

  private func finish() {
    let (queues, changes) = readers.withLock { ($0.queues, $0.changes.values.map(\.self)) }
    for queue in queues { queue.finish() }
    for change in changes { change.finish() }
  }

  // MARK: What the watch tells

  /// Waits until every reader of outputs has room for a batch.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  func room() async throws {
    for queue in readers.withLock(\.queues) { try await queue.room() }
  }

  /// Tells a batch at once; to be called where there is ``room()``.
  func put(_ batch: [WatchOutput]) {
    guard !batch.isEmpty else { return }
    update { $0.receive(batch, keepsRoster: watcher.options.keepsRoster) }
    for queue in readers.withLock(\.queues) { queue.put(batch) }
  }

  /// Tells a batch once there is room for it.
  func tell(_ batch: [WatchOutput]) async throws {
    guard !batch.isEmpty else { return }
    try await room()
    put(batch)
  }

  /// All of the bus, which what follows changes.
  func begin(with snapshot: Snapshot) { update { $0.begin(with: snapshot) } }

  /// When each instance last said that it is there, as it was read just now.
  package func renew(_ leases: Leases) { update { $0.renew(leases) } }

  func notify(_ notice: Watcher.Notice) {
    update { $0.receive(notice) }
    watcher.notify(notice)
  }

  private func update(_ change: (inout HubState) -> Void) {
    let changes = readers.withLock { readers in
      change(&readers.state)
      readers.state.version += 1
      return readers.changes.values.map(\.self)
    }
    // Without the lock: a task that is being cancelled waits for it, to remove its reader, while nothing can wake that
    // task.
    for changed in changes { changed.yield() }
  }
}
