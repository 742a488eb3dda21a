import NIOCore
import Synchronization

/// What the reader of a subscription gets.
package enum RedisArrival: Sendable {
  /// At least one message.
  case messages(RedisBatch)
  /// Nothing came in the time that was given.
  case timeOut
  /// The task that listens was cancelled.
  case cancelled
  /// The connection is gone, and all that came before has been handed out.
  case ended(RedisError)
}

/// Hands messages from the event loop to one reader, in batches.
///
/// For a slow reader the messages wait here, up to `capacity`. Then reading from the socket pauses,
/// so that further messages wait in Redis and not in our memory.
final class RedisMailbox: Sendable {
  private typealias Waiting = CheckedContinuation<RedisArrival, Never>

  private struct State {
    /// The batches as they came; small ones are put together.
    var batches = CircularBuffer<RedisBatch>()
    var size = 0
    var isPaused = false
    var waiting: Waiting?
    /// Whether the reader was woken before it waited; the next call then does not wait.
    var isWoken = false
    /// What is handed out after all batches.
    var end: RedisArrival?

    mutating func add(_ batch: RedisBatch) {
      size += batch.size
      if let last = batches.last, last.count + batch.count <= RedisMailbox.maxTogether {
        batches.modify(batches.index(before: batches.endIndex)) { $0.append(batch) }
      } else {
        batches.append(batch)
      }
    }

    /// What can be handed out at once; otherwise the reader waits.
    mutating func arrival(orResume reader: Waiting) -> RedisArrival? {
      defer { isWoken = false }
      if let batch = batches.popFirst() {
        size -= batch.size
        return .messages(batch)
      }
      if let end { return end }
      if isWoken { return .timeOut }
      waiting = reader
      return nil
    }
  }

  /// The limit in bytes.
  private static let capacity = 1024 * 1024
  /// Larger batches would not fit into the fast cache memory of the processor.
  private static let maxTogether = 256
  private let state = Mutex(State())

  /// Adds a batch; returns whether reading has to pause.
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
    waiting?.resume(returning: .messages(batch))
    return pause
  }

  /// Ends the mailbox; what has come is still handed out.
  func end(_ error: RedisError) { end(with: .ended(error)) }

  private func end(with arrival: RedisArrival) {
    let waiting = state.withLock { state in
      if state.end == nil { state.end = arrival }
      return state.waiting.take()
    }
    waiting?.resume(returning: arrival)
  }

  /// Tells the reader that its time is over, even if it is only about to wait.
  func wake() {
    let waiting = state.withLock { state in
      state.isWoken = state.waiting == nil
      return state.waiting.take()
    }
    waiting?.resume(returning: .timeOut)
  }

  var isPaused: Bool { state.withLock { $0.isPaused } }

  /// Waits for what comes next.
  ///
  /// - Parameter onResume: called where reading was paused and may go on.
  func next(onResume: () -> Void) async -> RedisArrival {
    let arrival = await withTaskCancellationHandler {
      await withCheckedContinuation { (reader: Waiting) in
        if let ready = state.withLock({ $0.arrival(orResume: reader) }) {
          reader.resume(returning: ready)
        }
      }
    } onCancel: {
      end(with: .cancelled)
    }
    let resumes = state.withLock { state in
      guard state.isPaused, state.size <= Self.capacity / 2 else { return false }
      state.isPaused = false
      return true
    }
    if resumes { onResume() }
    return arrival
  }
}
