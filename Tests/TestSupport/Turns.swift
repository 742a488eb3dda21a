import Synchronization

/// Lets a few tests at a time run servers and processes of their own, since each of those needs its
/// share of the processors to keep the promises that are tested.
enum Turns {
  private static let maxAtOnce = 6
  @TaskLocal private static var isTaken = false
  private static let state = Mutex(State())

  private struct State {
    var running = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  /// Runs `body` when it is its turn; at once within another turn.
  static func take(_ body: () async throws -> Void) async throws {
    guard !isTaken else { return try await body() }
    await withCheckedContinuation { continuation in
      let isFree = state.withLock { state in
        guard state.running < maxAtOnce else {
          state.waiting.append(continuation)
          return false
        }
        state.running += 1
        return true
      }
      if isFree { continuation.resume() }
    }
    defer {
      let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
        guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
        state.running -= 1
        return nil
      }
      next?.resume()
    }
    try await $isTaken.withValue(true) { try await body() }
  }
}
