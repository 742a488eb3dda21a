import Presence
import Terminal
import Views

/// The messages on stderr. Each is one line, and is harmless on a terminal, whatever it contains.
struct Diagnostics: Sendable {
  var isQuiet = false
  var isVerbose = false

  /// Says what a user should know, unless asked to be quiet.
  func note(_ remark: Remark) {
    if !isQuiet { Self.tell(remark) }
  }

  /// Says details, which are shown only with `--verbose`.
  func detail(_ remark: Remark) {
    if isVerbose { Self.tell(remark) }
  }

  /// Says it in any case.
  static func tell(_ remark: Remark) { error(remark.text) }

  /// Says it in any case.
  static func error(_ text: String) {
    copy("paasbus: \(Visible.text(text))\n")
  }

  /// Prints the output of another program unchanged.
  static func copy(_ text: String) {
    if let drawing = CurrentDrawing.get() {
      drawing.say(text)
    } else {
      StandardStreams.writeError(text)
    }
  }
}
