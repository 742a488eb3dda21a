import ArgumentParser
import Views

/// A duration as it is typed: `500ms`, `15s`, `2m`, `1h`.
struct DurationArgument: ExpressibleByArgument, Sendable {
  var duration: Duration

  init(_ duration: Duration) {
    self.duration = duration
  }

  init?(argument: String) {
    guard let duration = Duration(typed: argument) else { return nil }
    self.duration = duration
  }

  var defaultValueDescription: String {
    let milliseconds = duration.components.seconds * 1000
    return milliseconds % 60_000 == 0 && milliseconds > 0
      ? "\(milliseconds / 60_000)m" : "\(milliseconds / 1000)s"
  }
}
