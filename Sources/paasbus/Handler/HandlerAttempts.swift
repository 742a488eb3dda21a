import Presence

/// Runs a handler for an event, and says where it failed whether it is tried again.
struct HandlerAttempts: Sendable {
  private static let maxPause = Duration.seconds(30)

  let handler: EventHandler
  /// How often a handler that failed for an event is run for it again.
  let retries: Int

  /// How long to wait before the next try, twice as long after each.
  static func pause(after failures: Int) -> Duration {
    min(maxPause, .milliseconds(500) * (1 << min(max(failures, 1), 10)))
  }

  func mayTryAgain(after failures: Int) -> Bool { failures <= retries }

  /// Runs it once.
  ///
  /// - Parameter failures: how often it has failed for this event.
  /// - Returns: whether it succeeded.
  /// - Throws: `CancellationError`; the handler is ended then.
  func run(_ event: Event, after failures: Int) async throws -> Bool {
    let failure = await handler.run(event)
    guard let failure else { return true }
    try Task.checkCancellation()
    let number = failures + 1
    Diagnostics.tell(
      .handlerFailed(
        event.type, name: event.instance.name, failure: failure,
        then: retries == 0 ? nil : mayTryAgain(after: number) ? (number, retries) : (0, retries)))
    return false
  }
}
