/// How long to wait before the next attempt: a few quick ones, then longer and longer, with
/// jitter, so that a thousand announcers do not come back in the same instant.
package struct Backoff: Sendable {
  /// The waits of the first attempts, which come 0, 100, 300 and 700 ms after the loss.
  private static let first: [Duration] = [
    .zero, .milliseconds(100), .milliseconds(200), .milliseconds(400),
  ]
  /// The wait after those, which then doubles.
  private static let next = Duration.milliseconds(500)

  private let longest: Duration
  private var attempts = 0

  /// - Parameter longest: the longest wait.
  package init(longest: Duration = .seconds(5)) {
    self.longest = longest
  }

  package mutating func reset() { attempts = 0 }

  /// A connection that lasted for longer than this was a good one.
  private static let steady = Duration.seconds(5)

  /// Notes that a connection ended. Only after a good one do the waits start again from the
  /// shortest.
  ///
  /// - Parameter begun: when the connection was made; nil where none was.
  package mutating func connectionEnded(since begun: ContinuousClock.Instant?) {
    if let begun, .now - begun > Self.steady { reset() }
  }

  /// The next wait.
  package mutating func next() -> Duration {
    var generator = SystemRandomNumberGenerator()
    return next(using: &generator)
  }

  mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
    defer { attempts += 1 }
    if let early = Self.first.at(attempts) {
      return min(early, longest) * Double.random(in: 0.8...1.2, using: &generator)
    }
    let doubled = Self.next * Double(1 << min(attempts - Self.first.count, 10))
    return min(doubled, longest) * Double.random(in: 0.5...1, using: &generator)
  }
}
