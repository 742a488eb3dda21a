import Foundation
import Synchronization

/// Lets a few tests at a time run servers and processes of their own, since each of those needs its
/// share of the processors to keep the promises that are tested. Many tests mostly wait, so more are let in
/// one by one while the processors have nothing to do.
enum Turns {
  private static let minAtOnce = 6
  private static let maxAtOnce = 12
  /// How much of all processors' time must be unused for another one to be let in.
  private static let minIdle = 0.35
  private static let interval = 0.25
  @TaskLocal private static var isTaken = false
  private static let state = Mutex(State())

  private struct State {
    var running = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    var isWatching = false

    /// - Parameter limit: how many may run.
    mutating func next(within limit: Int) -> CheckedContinuation<Void, Never>? {
      guard running < limit, !waiting.isEmpty else { return nil }
      running += 1
      return waiting.removeFirst()
    }
  }

  /// Runs `body` when it is its turn; at once within another turn.
  static func take(_ body: () async throws -> Void) async throws {
    guard !isTaken else { return try await body() }
    await withCheckedContinuation { continuation in
      let (next, begins) = state.withLock { state in
        state.waiting.append(continuation)
        defer { state.isWatching = true }
        return (state.next(within: minAtOnce), !state.isWatching)
      }
      next?.resume()
      if begins { Thread.detachNewThread(letMoreIn) }
    }
    defer {
      let next = state.withLock { state in
        state.running -= 1
        return state.next(within: minAtOnce)
      }
      next?.resume()
    }
    try await $isTaken.withValue(true) { try await body() }
  }

  /// Runs as long as the process.
  private static func letMoreIn() {
    var last = ProcessorTime.now
    while true {
      Thread.sleep(forTimeInterval: interval)
      let now = ProcessorTime.now
      if now.idleShare(since: last) > minIdle {
        state.withLock { $0.next(within: maxAtOnce) }?.resume()
      }
      last = now
    }
  }
}

/// What all processors of the machine did since it was started, in ticks.
private struct ProcessorTime {
  var idle = 0
  var total = 0

  /// As `/proc/stat` says; nothing where it cannot be read.
  static var now: ProcessorTime {
    let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
    let ticks = text.prefix { $0 != "\n" }.split(separator: " ").dropFirst().compactMap { Int($0) }
    // The fourth is idle, the fifth waits for disks; what a guest takes is among the first two.
    let counted = ticks.prefix(8)
    return ProcessorTime(
      idle: counted.dropFirst(3).prefix(2).reduce(0, +), total: counted.reduce(0, +))
  }

  func idleShare(since last: ProcessorTime) -> Double {
    let total = total - last.total
    return total > 0 ? Double(idle - last.idle) / Double(total) : 0
  }
}
