import Synchronization

/// One connection that many tasks may ask at the same time. It is made when it is first needed, and again
/// after it broke.
///
/// While the server is away, every question between two attempts to reach it fails at once with the last
/// error, so that many tasks neither wait for it nor press it with connections. An idle connection is not kept
/// alive but replaced, which costs nothing while it is not used.
package final class RedisClient: Sendable {
  private struct Held {
    var connection: Task<RedisConnection, any Error>
    var lastUse: ContinuousClock.Instant
  }

  private struct State {
    var held: Held?
    var backoff = Backoff()
    var failure: (error: RedisError, until: ContinuousClock.Instant)?
    var isClosed = false
  }

  /// Proxies cut connections that are idle for longer; see ``RedisConnection/sleep(for:)``.
  private static let maxIdle = Duration.seconds(15)

  private let connector: RedisConnector
  private let state = Mutex(State())

  /// Makes no connection yet.
  package init(_ connector: RedisConnector) {
    self.connector = connector
  }

  /// Runs `body` with the connection, which others use as well.
  ///
  /// - Throws: ``RedisError``; what `body` throws.
  package func withConnection<Result>(
    _ body: (RedisConnection) async throws -> Result
  ) async throws -> Result {
    let task = try task()
    do {
      let result = try await body(try await task.value)
      state.withLock { state in
        if state.held?.connection == task { state.held?.lastUse = .now }
        (state.backoff, state.failure) = (Backoff(), nil)
      }
      return result
    } catch {
      if let error = error as? RedisError { await note(error, of: task) }
      throw error
    }
  }

  /// Writes all commands in one go and returns their replies, error replies among them. They are sent a second
  /// time where the connection turned out to be gone, so each must bear that.
  ///
  /// - Throws: ``RedisError``.
  package func pipeline(_ commands: [RedisCommand]) async throws -> [RedisValue] {
    let wasHeld = state.withLock { $0.held != nil }
    do {
      return try await withConnection { try await $0.pipeline(commands) }
    } catch let error as RedisError
      where wasHeld && error.kind == .unreachable && !error.isTimeout
    {
      state.withLock { $0.failure = nil }
      return try await withConnection { try await $0.pipeline(commands) }
    }
  }

  /// Ends the connection; later questions fail.
  package func close() async {
    let held = state.withLock { state in
      state.isClosed = true
      return state.held.take()
    }
    // One that is only being made is not waited for.
    held?.connection.cancel()
    await (try? held?.connection.value)?.close()
  }

  private func task() throws -> Task<RedisConnection, any Error> {
    let (task, idle) = try state.withLock { state in
      if state.isClosed { throw RedisError(.closed) }
      if let failure = state.failure, failure.until > .now { throw failure.error }
      var idle: Held?
      if let held = state.held {
        if ContinuousClock.now - held.lastUse < Self.maxIdle { return (held.connection, idle) }
        idle = state.held.take()
      }
      let task = Task(executorPreference: connector.thread.executor) { [connector] in
        try await connector.connect()
      }
      state.held = Held(connection: task, lastUse: .now)
      return (task, idle)
    }
    // What is still under way on it has until then; nothing waits that long.
    if let idle { Task { await (try? idle.connection.value)?.close() } }
    return task
  }

  /// Gives a broken connection up; replies that are errors leave it whole.
  private func note(_ error: RedisError, of task: Task<RedisConnection, any Error>) async {
    switch error.kind {
    case .unreachable, .tls, .protocolViolation, .wrongServer: break
    // What is refused at the login leaves no connection.
    case .refused, .configuration, .unavailable, .server:
      if (try? await task.value) != nil { return }
    }
    let isOurs = state.withLock { state in
      guard state.held?.connection == task else { return false }
      state.held = nil
      state.failure = (error, .now + state.backoff.next())
      return true
    }
    if isOurs { await (try? task.value)?.close() }
  }
}
