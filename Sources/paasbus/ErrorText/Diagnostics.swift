import Presence
import Terminal
import Views

/// What is said on stderr: one line each, harmless on a terminal whatever is in it.
struct Diagnostics: Sendable {
  var isQuiet = false
  var isVerbose = false

  /// Says what a user should know, unless asked to be quiet.
  func note(_ text: String) {
    if !isQuiet { Self.error(text) }
  }

  /// Says what only the curious want to know.
  func detail(_ text: String) {
    if isVerbose { Self.error(text) }
  }

  func connectionLost(_ error: any Error) { note("\(Failure(error).problem); trying again") }

  func connectionBack() { note("connected to Redis again") }

  /// Says it in any case.
  static func error(_ text: String) {
    copy("paasbus: \(Visible.text(text))\n")
  }

  /// Says what somebody else has said, as it is.
  static func copy(_ text: String) {
    if let drawing = CurrentDrawing.get() {
      drawing.say(text)
    } else {
      StandardStreams.writeError(text)
    }
  }
}
