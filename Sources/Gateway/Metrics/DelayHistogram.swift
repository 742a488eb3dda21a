import Synchronization

/// How long after they happened events were told, in the buckets of a Prometheus histogram.
final class DelayHistogram: Sendable {
  /// Upper bounds, in seconds.
  static let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

  struct Counts: Sendable {
    /// How many were at most as long as each bound.
    var buckets = [Int](repeating: 0, count: bounds.count)
    var count = 0
    /// In seconds.
    var sum = 0.0
  }

  private let state = Mutex(Counts())

  var counts: Counts { state.withLock { $0 } }

  func add(milliseconds: Int64) {
    let seconds = Double(max(0, milliseconds)) / 1000
    state.withLock { counts in
      counts.count += 1
      counts.sum += seconds
      for (index, bound) in Self.bounds.enumerated() where seconds <= bound {
        counts.buckets[index] += 1
      }
    }
  }
}
