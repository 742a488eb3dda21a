import NIOCore
import Synchronization

/// Hands messages from the event loop to one reader, in batches.
///
/// For a slow reader they wait, up to `capacity`; then reading from the socket pauses, so that the
/// backlog is Redis' and not ours.
final class RedisMailbox: Sendable {
  private typealias Waiting = CheckedContinuation<RedisBatch?, any Error>

  private struct State {
    /// In helpings as they came, but for small ones, which are put together.
    var batches = CircularBuffer<RedisBatch>()
    var size = 0
    var isPaused = false
    var waiting: Waiting?
    /// Woken before it waited: the next reader does not.
    var isWoken = false
    var end: Result<Void, RedisError>?

    mutating func add(_ batch: RedisBatch) {
      size += batch.size
      if let last = batches.last, last.count + batch.count <= RedisMailbox.mostTogether {
        batches.modify(batches.index(before: batches.endIndex)) { $0.append(batch) }
      } else {
        batches.append(batch)
      }
    }

    /// What can be handed out at once; otherwise the reader waits.
    mutating func takeOrWait(_ continuation: Waiting) -> Result<RedisBatch?, any Error>? {
      defer { isWoken = false }
      if let batch = batches.popFirst() {
        size -= batch.size
        return .success(batch)
      }
      if let end { return end.map { nil }.mapError { $0 } }
      if isWoken { return .success(RedisBatch()) }
      waiting = continuation
      return nil
    }
  }

  /// In bytes.
  private static let capacity = 1024 * 1024
  /// Larger batches would be worked on in slower memory than the processor's own.
  private static let mostTogether = 256
  private let state = Mutex(State())

  /// Adds a batch; returns whether to pause reading.
  func put(_ batch: RedisBatch) -> Bool {
    let (waiting, pause) = state.withLock { state -> (Waiting?, Bool) in
      if let waiting = state.waiting {
        state.waiting = nil
        return (waiting, false)
      }
      state.add(batch)
      if state.size > Self.capacity { state.isPaused = true }
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
    waiting?.resume(returning: RedisBatch())
  }

  var isPaused: Bool { state.withLock { $0.isPaused } }

  /// What has come, once there is something; nothing after ``wake()``, nil after the end or when
  /// the task is cancelled.
  ///
  /// - Parameter onResume: called where reading had paused and may go on.
  func take(onResume: () -> Void) async throws -> RedisBatch? {
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
      guard state.isPaused, state.size <= Self.capacity / 2 else { return false }
      state.isPaused = false
      return true
    }
    if resumes { onResume() }
    return batch
  }
}
