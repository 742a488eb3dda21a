/// Listens to channels until it is told to stop, across lost connections.
///
/// What is published while there is no connection is gone: that is what Pub/Sub promises.
package struct RedisListener: Sendable {
  package enum Notice: Sendable {
    case listening
    case connectionLost(RedisError)
    case connectionBack
  }

  /// How long the server may say nothing.
  private static let patience = Duration.seconds(8)

  private let connector: RedisConnector
  private let channels: [String]
  private let patterns: [String]
  private let notify: @Sendable (Notice) -> Void

  package init(
    connector: RedisConnector, channels: [String], patterns: [String],
    notify: @escaping @Sendable (Notice) -> Void = { _ in }
  ) {
    self.connector = connector
    self.channels = channels
    self.patterns = patterns
    self.notify = notify
  }

  /// Hands over messages as they come, until `body` returns false or the task is cancelled.
  ///
  /// - Parameter body: returns whether it wants more messages.
  /// - Throws: ``RedisError`` when the first contact fails; what `body` throws. After later
  ///   failures, it tries again without limit.
  package func run(_ body: ([RedisMessage]) async throws -> Bool) async throws {
    var backoff = Backoff()
    var connected: ContinuousClock.Instant?
    var hasContact = false
    // The error of the current outage that was told last.
    var told: RedisError?
    while !Task.isCancelled {
      do {
        try await connector.withSubscription(to: channels, patterns: patterns) { subscription in
          notify(told != nil ? .connectionBack : .listening)
          (hasContact, told) = (true, nil)
          connected = .now
          try await subscription.follow(patience: Self.patience) { messages in
            messages.isEmpty ? true : try await body(messages)
          }
        }
        return
      } catch is CancellationError {
        return
      } catch let error as RedisError where hasContact {
        // A later error is told as well where, unlike with the first, trying again cannot help.
        if told == nil || told?.isTransient == true && !error.isTransient {
          notify(.connectionLost(error))
          told = error
        }
        backoff.connectionEnded(since: connected)
        connected = nil
        try? await connector.thread.sleep(for: backoff.next())
      }
    }
  }
}
