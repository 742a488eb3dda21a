/// Moments at which all is done that is done again and again, so that one wake-up of the thread serves all of it.
package enum SharedTick {
  /// The time between two of them. An instance's connection that is gone is noticed within this time.
  package static let interval = Duration.milliseconds(460)
  private static let first = ContinuousClock.now

  /// The last such moment within a time from an instant; the next one where there is none.
  package static func last(
    within limit: Duration, of instant: ContinuousClock.Instant = .now
  ) -> ContinuousClock.Instant {
    let passed = instant - first
    let steps = max(
      ((passed + limit) / interval).rounded(.down), (passed / interval).rounded(.down) + 1)
    return first + interval * steps
  }
}
