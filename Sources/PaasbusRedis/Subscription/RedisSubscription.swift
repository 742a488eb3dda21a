import NIOCore

/// Listens to channels, on a separate connection, for as long as a closure runs.
package struct RedisSubscription: Sendable {
  private let connection: RedisConnection
  private let mailbox: RedisMailbox

  /// Subscribes; returns once the server has confirmed each channel and pattern.
  init(
    connection: RedisConnection, channels: [String], patterns: [String]
  ) async throws {
    self.connection = connection
    mailbox = RedisMailbox()
    connection.deliver(to: mailbox)
    // Each channel is a command of its own, so that each has one answer.
    let commands =
      channels.map { RedisCommand("SUBSCRIBE", $0) }
      + patterns.map { RedisCommand("PSUBSCRIBE", $0) }
    for reply in try await connection.pipeline(commands) { try reply.get() }
  }

  /// Waits for what comes next; without a limit, it waits for ever.
  package func next(within limit: Duration? = nil) async -> RedisArrival {
    let timer = limit.map { limit in
      connection.channel.eventLoop.scheduleTask(in: TimeAmount(limit)) { [mailbox] in
        mailbox.wake()
      }
    }
    defer { timer?.cancel() }
    return await mailbox.next { connection.resumeReading() }
  }

  /// Hands over messages as they come, for as long as `body` returns true.
  ///
  /// A server that says nothing for half of `patience` is asked whether it is there. Its answer comes as no messages.
  ///
  /// - Throws: ``RedisError`` when the connection ends or nothing has come for `patience`, `CancellationError`,
  ///   and what `body` throws.
  package func follow(
    patience: Duration, _ body: ([RedisMessage]) async throws -> Bool
  ) async throws {
    var isAsked = false
    while true {
      switch await next(within: patience / 2) {
      case .cancelled: throw CancellationError()
      case .ended(let error): throw error
      case .timeOut:
        guard !isAsked else { throw RedisError(.noAnswer(within: patience)) }
        ping()
        isAsked = true
      case .messages(let batch):
        isAsked = false
        let messages = batch.compactMap { push in
          if case .message(let message) = push { message } else { nil }
        }
        guard try await body(messages) else { return }
      }
    }
  }

  /// Asks the server for a sign of life. It comes as ``RedisPush/pong``, after every message that
  /// was published before the server got the question.
  package func ping() {
    connection.write(RedisCommand("PING"))
  }
}

extension RedisConnection {
  /// From here on this connection listens; nothing else can be asked on it.
  ///
  /// - Throws: ``RedisError``.
  package func subscribe(
    to channels: [String], patterns: [String] = []
  ) async throws -> RedisSubscription {
    try await RedisSubscription(connection: self, channels: channels, patterns: patterns)
  }
}

extension RedisConnector {
  /// Runs `body` with a subscription, which ends together with `body`.
  ///
  /// - Throws: ``RedisError``, or what `body` throws.
  package func withSubscription<Result>(
    to channels: [String], patterns: [String] = [],
    _ body: (RedisSubscription) async throws -> Result
  ) async throws -> Result {
    try await withConnection { connection in
      try await body(
        RedisSubscription(connection: connection, channels: channels, patterns: patterns))
    }
  }
}
