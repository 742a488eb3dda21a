import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What is drawn on the terminal and changes in place. Other code that writes to the terminal uses
/// ``say(_:)``, or asks to suspend the drawing first.
package protocol Drawing: Sendable {
  /// Writes text for the user (whole lines) in addition to what is drawn.
  func say(_ text: String)
  /// Removes the drawing and restores the terminal to its original state, until ``resume()``.
  func suspend()
  func resume()
  /// Called when the size of the terminal has changed.
  func resize()
  /// Removes the drawing for good.
  func close()
}

/// What a terminal has not taken yet of what was written to it, since its reader stalls.
struct Backlog: Sendable {
  private let descriptor: CInt
  private var rest: ArraySlice<UInt8> = []

  init(_ descriptor: CInt) { self.descriptor = descriptor }

  var isEmpty: Bool { rest.isEmpty }

  /// Writes as much as can be written without waiting, behind what is left of before.
  ///
  /// - Throws: as `StandardStreams.write`.
  mutating func write(_ bytes: [UInt8]) throws {
    rest = try StandardStreams.writeAtOnce(rest + bytes, to: descriptor)
  }

  /// Waits until the terminal has taken all.
  ///
  /// - Throws: as `StandardStreams.write`.
  mutating func finish() throws {
    defer { rest = [] }
    try StandardStreams.write(Array(rest), to: descriptor)
  }

  /// Writes what the terminal takes soon, so that no sequence stays half written.
  mutating func finishSoon() {
    StandardStreams.writeSoon(Array(rest), to: descriptor)
    rest = []
  }
}

/// The only drawing of this process, since there is only one terminal.
package enum CurrentDrawing {
  private static let current = Mutex<(any Drawing)?>(nil)

  /// Whether something can be drawn on the terminal behind `descriptor`.
  package static func isPossible(on descriptor: CInt, environment: [String: String]) -> Bool {
    StandardStreams.isTerminal(descriptor) && environment["TERM", default: "dumb"] != "dumb"
  }

  package static func get() -> (any Drawing)? { current.withLock { $0 } }

  /// Runs `body` with a drawing on the terminal. The drawing is removed afterwards, even if `body`
  /// throws.
  package static func with(
    _ drawing: (any Drawing)?, _ body: () async throws -> Void
  ) async throws {
    guard let drawing else { return try await body() }
    current.withLock { $0 = drawing }
    drawing.resume()
    defer { close() }
    try await body()
  }

  /// Removes the drawing, if there is one.
  package static func close() {
    current.withLock { $0.take() }?.close()
  }
}

extension Mutex {
  /// Runs `body` once the lock is free. A write to a terminal that has stalled may hold the lock
  /// for long; then this does not wait, and does nothing.
  package func withLockSoon(_ body: (inout sending Value) -> Void) where Value: Sendable {
    let deadline = ContinuousClock.now + .milliseconds(500)
    while withLockIfAvailable({ body(&$0) }) == nil, ContinuousClock.now < deadline {
      _ = poll(nil, 0, 5)
    }
  }
}
