import Presence
import Terminal
import Views

/// What a check found.
struct Finding: Sendable {
  enum Status: String, Sendable {
    case ok, warn, fail
  }

  var check: String
  var status: Status
  var found: String
  /// What to do; nil where nothing is to be done.
  var remedy: String?

  static func ok(_ check: String, _ found: String) -> Finding {
    Finding(check: check, status: .ok, found: found)
  }

  static func warn(_ check: String, _ found: String, remedy: String) -> Finding {
    Finding(check: check, status: .warn, found: found, remedy: remedy)
  }

  static func fail(_ check: String, _ found: String, remedy: String) -> Finding {
    Finding(check: check, status: .fail, found: found, remedy: remedy)
  }

  static func fail(_ check: String, _ error: any Error) -> Finding {
    let failure = Failure(error)
    return .fail(check, failure.problem, remedy: failure.remedy)
  }

  /// A whole line with its end.
  func line(isJSON: Bool) -> [UInt8] {
    guard !isJSON else {
      var text = JSONText()
      text.member("check", check)
      text.member("status", status.rawValue)
      text.member("found", found)
      text.member("remedy", remedy)
      return text.line
    }
    let tail = remedy.map { ": \($0)" } ?? ""
    let line = "\(status.rawValue.padded(to: 4))  \(check.padded(to: 11))  \(found)\(tail)"
    return Array((Visible.text(line) + "\n").utf8)
  }
}
