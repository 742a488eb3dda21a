import Presence
import Terminal
import Views

/// What is said on stderr: one line each, harmless on a terminal whatever is in it.
struct Diagnostics: Sendable {
  var isQuiet = false
  var isVerbose = false

  /// Says what a user should know, unless asked to be quiet.
  func note(_ remark: Remark) {
    if !isQuiet { Self.tell(remark) }
  }

  /// Says what only the curious want to know.
  func detail(_ remark: Remark) {
    if isVerbose { Self.tell(remark) }
  }

  /// Says it in any case.
  static func tell(_ remark: Remark) { error(remark.text) }

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
