import Synchronization

/// A message of Pub/Sub.
public struct RedisMessage: Sendable, Hashable {
  public var channel: [UInt8]
  /// The pattern that it matched, for a subscription to patterns.
  public var pattern: [UInt8]?
  public var payload: [UInt8]
}

/// What a subscribed connection sends: a message, or the answer to a ping, in their order.
public enum RedisPush: Sendable, Hashable {
  case message(RedisMessage)
  case pong

  /// What a message carries; nil for a pong.
  public var payload: [UInt8]? {
    guard case .message(let message) = self else { return nil }
    return message.payload
  }

  var size: Int {
    guard case .message(let message) = self else { return 64 }
    return message.channel.count + message.payload.count + 64
  }
}

/// Hands messages from the event loop to one reader, as many at a time as have come.
///
/// A slow reader makes the batches larger, up to `capacity`; then reading from the socket pauses,
/// so that the backlog is Redis' and not ours.
final class RedisMailbox: Sendable {
  private typealias Waiting = CheckedContinuation<[RedisPush]?, any Error>

  private struct State {
    var pushes: [RedisPush] = []
    var size = 0
    var isPaused = false
    var waiting: Waiting?
    /// Woken before it waited: the next reader does not.
    var isWoken = false
    var end: Result<Void, RedisError>?

    /// What can be handed out at once; otherwise the reader waits.
    mutating func takeOrWait(_ continuation: Waiting) -> Result<[RedisPush]?, any Error>? {
      defer { isWoken = false }
      if !pushes.isEmpty {
        defer { (pushes, size) = ([], 0) }
        return .success(pushes)
      }
      if let end { return end.map { nil }.mapError { $0 } }
      if isWoken { return .success([]) }
      waiting = continuation
      return nil
    }
  }

  private static let capacity = 4 * 1024 * 1024
  private let state = Mutex(State())

  /// Adds a batch; returns whether to pause reading.
  func put(_ batch: [RedisPush]) -> Bool {
    let (waiting, pause) = state.withLock { state -> (Waiting?, Bool) in
      if let waiting = state.waiting {
        state.waiting = nil
        return (waiting, false)
      }
      state.pushes.append(contentsOf: batch)
      for push in batch { state.size += push.size }
      state.isPaused = state.size > Self.capacity
      return (nil, state.isPaused)
    }
    waiting?.resume(returning: batch)
    return pause
  }

  /// Ends the mailbox; what has come is still handed out.
  func end(_ result: Result<Void, RedisError>) {
    let waiting = state.withLock { state in
      if state.end == nil { state.end = result }
      return state.waiting.take()
    }
    waiting?.resume(with: result.map { nil }.mapError { $0 })
  }

  /// Lets the reader go with nothing, also one that is only about to wait.
  func wake() {
    let waiting = state.withLock { state in
      state.isWoken = state.waiting == nil
      return state.waiting.take()
    }
    waiting?.resume(returning: [])
  }

  var isPaused: Bool { state.withLock { $0.isPaused } }

  /// What has come, once there is something; nothing after ``wake()``, nil after the end or when
  /// the task is cancelled.
  ///
  /// - Parameter onResume: called where reading had paused and may go on.
  func take(onResume: () -> Void) async throws -> [RedisPush]? {
    let batch = try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: Waiting) in
        if let ready = state.withLock({ $0.takeOrWait(continuation) }) {
          continuation.resume(with: ready)
        }
      }
    } onCancel: {
      end(.success(()))
    }
    let resumes = state.withLock { state in
      defer { state.isPaused = false }
      return state.isPaused
    }
    if resumes { onResume() }
    return batch
  }
}
