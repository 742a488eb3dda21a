import NIOCore
import Synchronization

/// One connection to a server: requests are pipelined, replies come in order.
///
/// A connection that failed stays failed; ask the ``RedisConnector`` for a new one.
package final class RedisConnection: Sendable {
  /// Which part of the credentials the server accepted.
  package enum Login: Sendable, Hashable {
    /// There are none.
    case none
    case asGiven
    /// The user name is a provider's dummy; the password alone was accepted.
    case passwordAlone
    /// The server has no password.
    case notNeeded
  }

  package let login: Login
  /// Whether the server takes commands that are useful but not necessary, such as `CLIENT`.
  package let takesExtras: Bool
  let channel: any Channel
  private let handler: NIOLoopBound<RedisChannelHandler>
  private let answers: AnswerTimes
  private let timeout: TimeAmount
  /// Whether a slot is being moved to this node, which then accepts commands for it only after
  /// `ASKING`.
  private let isAsking: Bool

  init(
    channel: any Channel, handler: NIOLoopBound<RedisChannelHandler>, answers: AnswerTimes,
    timeout: TimeAmount, isAsking: Bool = false, login: Login = .none, takesExtras: Bool = true
  ) {
    self.login = login
    self.takesExtras = takesExtras
    self.answers = answers
    self.channel = channel
    self.handler = handler
    self.timeout = timeout
    self.isAsking = isAsking
  }

  /// An answer that takes longer than this is a slow one.
  package static let slowAnswer = Duration.seconds(1)

  /// How many answers have been slow so far, to whatever was asked on this connection.
  package var slowAnswers: Int { answers.slow }

  /// Writes all commands in one go and returns their replies in order, error replies among them.
  ///
  /// - Parameter timeout: how long to wait for the last reply, instead of the connection's own.
  /// - Throws: ``RedisError``; afterwards the connection is closed. `CancellationError` when the
  ///   task is cancelled; the commands are sent nevertheless.
  package func pipeline(
    _ commands: [RedisCommand], timeout: Duration? = nil
  ) async throws -> [RedisValue] {
    // For nothing no reply would come.
    guard !commands.isEmpty else { return [] }
    guard isAsking else { return try await start(commands, timeout: timeout).cancellableValue() }
    let asked = commands.flatMap { [RedisCommand("ASKING"), $0] }
    let replies = try await start(asked, timeout: timeout).cancellableValue()
    return replies.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
  }

  /// Sends one command and returns its reply.
  ///
  /// - Throws: ``RedisError``, also for an error reply.
  package func send(_ command: RedisCommand) async throws -> RedisValue {
    try await pipeline([command]).first?.get() ?? .null
  }

  /// Runs the commands as one atomic step (`MULTI` … `EXEC`) and returns their replies.
  ///
  /// - Throws: ``RedisError``, also for an error reply to any of them; where the transaction could not be
  ///   ended, the connection is closed.
  package func transaction(_ commands: [RedisCommand]) async throws -> [RedisValue] {
    // Inside of a transaction, one ASKING is valid for all commands.
    let front = isAsking ? [RedisCommand("ASKING")] : []
    let all = front + [RedisCommand("MULTI")] + commands + [RedisCommand("EXEC")]
    let replies = try await start(all).cancellableValue()
    // Where EXEC itself is unknown or refused, the transaction stays open, and later commands would
    // only be queued.
    if case .error(let text)? = replies.last, !text.hasPrefix("EXECABORT") { await close() }
    // An error before EXEC says more than the EXECABORT that follows from it.
    for reply in replies { try reply.get() }
    return try (replies.last ?? .null).elements(to: "EXEC", count: commands.count).map {
      try $0.get()
    }
  }

  /// The same connection with another time-out for its replies.
  package func limited(to timeout: Duration) -> RedisConnection {
    with(timeout: TimeAmount(timeout))
  }

  /// The same connection, on which each command comes after an `ASKING`, for a slot that is being
  /// moved.
  func asking() -> RedisConnection { with(isAsking: true) }

  func loggedIn(_ login: Login, takesExtras: Bool) -> RedisConnection {
    with(login: login, takesExtras: takesExtras)
  }

  private func with(
    timeout: TimeAmount? = nil, isAsking: Bool? = nil, login: Login? = nil,
    takesExtras: Bool? = nil
  ) -> RedisConnection {
    RedisConnection(
      channel: channel, handler: handler, answers: answers, timeout: timeout ?? self.timeout,
      isAsking: isAsking ?? self.isAsking, login: login ?? self.login,
      takesExtras: takesExtras ?? self.takesExtras)
  }

  /// The longest time for which a connection is idle. Proxies close connections that are idle for
  /// longer, some of them after 30 s (HAProxy's and Envoy's usual configurations).
  private static let maxIdle = Duration.seconds(15)

  /// Waits, unless the connection ends first, and sends a PING now and then so that it is not idle
  /// for long.
  ///
  /// - Throws: ``RedisError`` when the connection ends, `CancellationError` when the task is
  ///   cancelled.
  package func sleep(for duration: Duration) async throws {
    let end = ContinuousClock.now + duration
    while end - .now > Self.maxIdle {
      try await wait(for: Self.maxIdle)
      _ = try await pipeline([RedisCommand("PING")])
    }
    try await wait(for: max(.zero, end - .now))
  }

  private func wait(for duration: Duration) async throws {
    let promise = channel.eventLoop.makePromise(of: Void.self)
    channel.eventLoop.execute {
      self.handler.value.sleep(for: TimeAmount(duration), promise: promise)
    }
    try await promise.futureResult.cancellableValue()
  }

  /// Ends the connection; what is under way fails.
  package func close() async {
    try? await channel.close().get()
  }

  func start(
    _ commands: [RedisCommand], timeout: Duration? = nil
  ) -> EventLoopFuture<[RedisValue]> {
    let promise = channel.eventLoop.makePromise(of: [RedisValue].self)
    let limit = timeout.map(TimeAmount.init) ?? self.timeout
    channel.eventLoop.execute {
      self.handler.value.send(commands, timeout: limit, promise: promise)
    }
    return promise.futureResult
  }

  /// Sends messages of Pub/Sub to the mailbox from here on.
  func deliver(to mailbox: RedisMailbox) {
    channel.eventLoop.execute { self.handler.value.deliver(to: mailbox) }
  }

  func write(_ command: RedisCommand) {
    channel.eventLoop.execute { self.handler.value.write(command) }
  }

  func resumeReading() {
    channel.setOption(.autoRead, value: true).whenFailure { _ in }
  }
}

extension EventLoopFuture where Value: Sendable {
  /// The value. A task that is cancelled stops to wait, without an effect on the future itself.
  func cancellableValue() async throws -> Value {
    let promise = eventLoop.makePromise(of: Value.self)
    cascade(to: promise)
    return try await withTaskCancellationHandler {
      try await promise.futureResult.get()
    } onCancel: {
      promise.fail(CancellationError())
    }
  }
}

/// Counts the slow answers of a connection.
final class AnswerTimes: Sendable {
  private static let limit = TimeAmount(RedisConnection.slowAnswer)
  private let count = Atomic(0)

  var slow: Int { count.load(ordering: .relaxed) }

  func note(_ duration: TimeAmount) {
    if duration > Self.limit { count.add(1, ordering: .relaxed) }
  }
}
