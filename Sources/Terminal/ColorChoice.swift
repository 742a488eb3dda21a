/// Whether to colour.
package enum ColorChoice: String, Sendable {
  case auto, always, never

  /// Whether to colour what goes to `descriptor`. Source of `NO_COLOR`: no-color.org.
  package func isOn(descriptor: CInt, environment: [String: String]) -> Bool {
    switch self {
    case .always: true
    case .never: false
    case .auto:
      environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
        && StandardStreams.isTerminal(descriptor)
    }
  }
}
