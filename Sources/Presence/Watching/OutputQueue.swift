import Synchronization

/// Hands the output of a watch to its reader, which may be slow or may stall. The watch waits for
/// room in the queue before it goes on; nothing else waits for the reader.
final class OutputQueue: Sendable {
  private typealias Reader = CheckedContinuation<[WatchOutput]?, Never>
  private typealias Writer = CheckedContinuation<Void, any Error>

  private struct State {
    var batches: [[WatchOutput]] = []
    var reader: Reader?
    var writer: Writer?
    var isFinished = false
  }

  /// One batch can be shown while the next one is made.
  private static let capacity = 2
  private let state = Mutex(State())

  /// Waits until there is room for a batch. For one writer.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  func room() async throws {
    try Task.checkCancellation()
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: Writer) in
        let isFree = state.withLock { state in
          guard state.batches.count >= Self.capacity, !Task.isCancelled else { return true }
          state.writer = continuation
          return false
        }
        if isFree { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.writer.take() }?.resume(throwing: CancellationError())
    }
  }

  /// Adds a batch at once; to be called where there is room.
  func put(_ batch: [WatchOutput]) {
    guard !batch.isEmpty else { return }
    let reader = state.withLock { state -> Reader? in
      guard let reader = state.reader.take() else {
        state.batches.append(batch)
        return nil
      }
      return reader
    }
    reader?.resume(returning: batch)
  }

  /// Tells the reader that no more batches will come.
  func finish() {
    let reader = state.withLock { state in
      state.isFinished = true
      return state.reader.take()
    }
    reader?.resume(returning: nil)
  }

  /// The next batch; nil after the last one. For one reader.
  func next() async -> [WatchOutput]? {
    await withCheckedContinuation { (continuation: Reader) in
      let (isReady, batch, writer) = state.withLock { state -> (Bool, [WatchOutput]?, Writer?) in
        guard state.batches.isEmpty else {
          return (true, state.batches.removeFirst(), state.writer.take())
        }
        if !state.isFinished { state.reader = continuation }
        return (state.isFinished, nil, nil)
      }
      writer?.resume()
      if isReady { continuation.resume(returning: batch) }
    }
  }
}
