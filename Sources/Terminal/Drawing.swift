import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What is drawn on the terminal and changes in place. Whoever else wants to write there asks for it
/// to be put aside.
package protocol Drawing: Sendable {
  /// Writes text for a person (whole lines) beside what is drawn.
  func say(_ text: String)
  /// Puts it away, and the terminal into the state in which we found it, until ``resume()``.
  func suspend()
  func resume()
  /// The terminal has another size.
  func resize()
  /// Puts it away for good.
  func close()
}

/// The one drawing of this process: there is one terminal.
package enum CurrentDrawing {
  private static let current = Mutex<(any Drawing)?>(nil)

  /// Whether something can be drawn where `descriptor` leads to.
  package static func isPossible(on descriptor: CInt, environment: [String: String]) -> Bool {
    StandardStreams.isTerminal(descriptor) && environment["TERM", default: "dumb"] != "dumb"
  }

  package static func get() -> (any Drawing)? { current.withLock { $0 } }

  /// Runs `body` with a drawing on the terminal, which is put away afterwards, however it ends.
  package static func with(
    _ drawing: (any Drawing)?, _ body: () async throws -> Void
  ) async throws {
    guard let drawing else { return try await body() }
    current.withLock { $0 = drawing }
    drawing.resume()
    defer { close() }
    try await body()
  }

  /// Puts away whatever is drawn.
  package static func close() {
    current.withLock { $0.take() }?.close()
  }
}

extension Mutex {
  /// Runs `body` once the lock is free. Whoever writes to a terminal that has stalled may hold it for
  /// long, and is not waited for: then nothing is done.
  package func withLockSoon(_ body: (inout sending Value) -> Void) where Value: Sendable {
    let deadline = ContinuousClock.now + .milliseconds(500)
    while withLockIfAvailable({ body(&$0) }) == nil, ContinuousClock.now < deadline {
      _ = poll(nil, 0, 5)
    }
  }
}
