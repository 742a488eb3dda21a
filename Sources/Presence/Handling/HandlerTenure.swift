import PaasbusRedis
import Synchronization

/// A watch's part in running a handler with a name: as its owner, which it stays by saying so again and again, or
/// standing by until there is none.
package final class HandlerTenure: Sendable {
  /// Another watch has become the owner.
  package struct Lost: Error {
    package init() {}
  }

  private struct State {
    /// Where the name begins if it has no record, as after all data was lost.
    var start: HandlerOwnership.Start
    var record: HandlerRecord?
    var isOwner = false
    var claimed = ContinuousClock.now
    /// When one that stands by last looked whether there is an owner.
    var looked = ContinuousClock.now
    /// The end of the owner's time.
    var end = ContinuousClock.now
  }

  /// How often an owner says that it still is, and how often others look whether there is none.
  package static let interval = HandlerOwnership.length / 3
  private static let patience = Duration.seconds(2)

  /// For all questions about the bus.
  package let client: RedisClient
  /// Is told what keeps the bus from being asked.
  private let notify: @Sendable (RedisError) -> Void
  private let ownership: HandlerOwnership
  private let connector: RedisConnector
  private let state: Mutex<State>

  /// - Parameters:
  ///   - start: where a name begins that is new.
  ///   - notify: is told what keeps the position from being moved.
  package init(
    _ name: String, app: String, connector: RedisConnector, start: HandlerOwnership.Start,
    notify: @escaping @Sendable (RedisError) -> Void
  ) {
    self.notify = notify
    ownership = HandlerOwnership(name, keys: Keys(app: app))
    self.connector = connector
    client = RedisClient(connector.routed(to: Keys(app: app).bus))
    state = Mutex(State(start: start))
  }

  package var isOwner: Bool { state.withLock(\.isOwner) }
  /// Whether this watch is the owner and its time is not over, so that no other watch can be the owner.
  package var isOwnerStill: Bool { state.withLock { $0.isOwner && .now < $0.end } }
  /// What is known of the handler; nil before the first claim.
  package var record: HandlerRecord? { state.withLock(\.record) }

  /// Does what is due to become or stay the owner.
  ///
  /// - Returns: whether this watch is the owner.
  /// - Throws: ``Lost`` where it is again, but another one was the owner meanwhile; `RedisError`.
  package func keep() async throws -> Bool {
    let known = state.withLock { $0 }
    let now = ContinuousClock.now
    if known.isOwner, now - known.claimed < Self.interval / 2 { return true }
    do {
      if let record = known.record, !known.isOwner, now < known.end {
        guard now - known.looked > Self.interval / 2 else { return false }
        guard try await isFree(since: record) else { return false }
      }
      let answer = try await claim()
      if answer.isNew, known.isOwner { throw Lost() }
      return answer.isOwner
    } catch let error as RedisError {
      // An owner that could not be heard has its whole time again, once Redis can be asked.
      state.withLock { if !$0.isOwner { $0.end = .now + HandlerOwnership.length } }
      throw error
    }
  }

  /// Whether the owner has given the handler up. Where the record is gone, the owner still has its time.
  private func isFree(since known: HandlerRecord) async throws -> Bool {
    state.withLock { $0.looked = .now }
    let seen = try await client.withConnection {
      try await HandlerRecord.read(ownership.name, keys: ownership.keys, on: $0)
    }
    guard let seen else { return false }
    let (longer, _) = seen.ownedUntil.subtractingReportingOverflow(known.ownedUntil)
    state.withLock { state in
      state.record = seen
      state.start = HandlerOwnership.Start(seen.position)
      state.end += .milliseconds(min(longer, HandlerOwnership.length.milliseconds))
    }
    return seen.owner == nil
  }

  private func claim() async throws -> HandlerOwnership.Answer {
    let start = state.withLock(\.start)
    let asked = ContinuousClock.now
    let answer = try await client.withConnection { try await ownership.claim(from: start, on: $0) }
    receive(answer, asked)
    return answer
  }

  private func receive(_ answer: HandlerOwnership.Answer, _ asked: ContinuousClock.Instant) {
    state.withLock { state in
      (state.isOwner, state.claimed) = (answer.isOwner, asked)
      state.end = .now + answer.left
      guard let record = answer.record else { return }
      state.record = record
      state.start = HandlerOwnership.Start(record.position)
    }
  }

  /// Says how far the handler has come, or how often the next event has failed; tries until the bus knows it. Where
  /// the task is cancelled before, ``release()`` says it.
  ///
  /// - Throws: ``Lost``, `CancellationError`.
  package func move(to position: Position?, tries: Int = 0) async throws {
    state.withLock { state in
      state.record?.position = position
      state.record?.tries = tries
    }
    var backoff = Backoff()
    while true {
      try Task.checkCancellation()
      do {
        let asked = ContinuousClock.now
        let answer = try await client.withConnection {
          try await ownership.advance(to: position, tries: tries, on: $0)
        }
        if answer.isOwner { return receive(answer, asked) }
        guard answer.record == nil else {
          receive(answer, asked)
          throw Lost()
        }
        // All data was lost, the owner among it.
        state.withLock { $0.start = HandlerOwnership.Start(position) }
        guard try await claim().isOwner else { throw Lost() }
      } catch let error as RedisError {
        notify(error)
        try await connector.thread.sleep(for: backoff.next())
      }
    }
  }

  /// Runs `body` and stays the owner meanwhile; `body` is cancelled when another watch becomes it. Where it returns
  /// nevertheless, what it returns counts.
  ///
  /// - Throws: ``Lost``, what `body` throws.
  package func whileOwner<Result: Sendable>(
    _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    do {
      return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await body() }
        group.addTask {
          await self.renew()
          return nil
        }
        defer { group.cancelAll() }
        while let outcome = try await group.next() {
          if let outcome { return outcome }
          group.cancelAll()
        }
        throw Lost()
      }
    } catch is CancellationError where !Task.isCancelled {
      throw Lost()
    }
  }

  /// Returns once another watch is the owner, or when the task is cancelled.
  private func renew() async {
    while !Task.isCancelled {
      try? await connector.thread.sleep(toTickWithin: Self.interval)
      do {
        if try await !keep() { return }
      } catch is Lost {
        return
      } catch {
        // It is tried again. The command goes on, since it should not be stopped halfway.
      }
    }
  }

  /// Leaves the handler to others at once, also where the task is cancelled.
  package func release() async {
    let (isOwner, record) = state.withLock { state in
      defer { state.isOwner = false }
      return (state.isOwner, state.record)
    }
    if isOwner {
      let release = Task(executorPreference: connector.thread.executor) {
        try await self.client.withConnection { connection in
          try await self.ownership.release(
            at: record?.position, tries: record?.tries ?? 0,
            on: connection.limited(to: Self.patience))
        }
      }
      // Where Redis is away, the end of our time tells the others.
      let timer = Task(executorPreference: connector.thread.executor) {
        try await self.connector.thread.sleep(for: Self.patience)
        await self.client.close()
      }
      _ = try? await release.value
      timer.cancel()
    }
    await client.close()
  }
}
