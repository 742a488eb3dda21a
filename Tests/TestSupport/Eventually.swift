/// A condition that did not come true.
package struct Impatience: Error, CustomStringConvertible {
  package var description: String

  package init(description: String) { self.description = description }
}

/// Waits until the condition holds, and fails at a deadline that is far beyond what is promised.
///
/// What is awaited is put into words at the deadline, so that it can tell what there is then.
///
/// An error of the condition counts as not yet. Where this process itself was kept from running, few looks were taken,
/// and it goes on for up to three times as long.
package func eventually(
  _ what: @autoclosure () -> String, within limit: Duration = .seconds(30),
  _ condition: () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  var looks = 0
  while true {
    if let holds = try? await condition(), holds { return }
    looks += 1
    let now = ContinuousClock.now
    guard now < deadline || looks < 100 && now < deadline + limit * 2 else {
      throw Impatience(description: "not within \(limit): \(what())")
    }
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// Waits for a stretch of time in which something must not happen.
package func pass(_ duration: Duration) async throws {
  let begun = ContinuousClock.now
  try await eventually("\(duration) have passed", within: duration + .seconds(30)) {
    ContinuousClock.now - begun > duration
  }
}
