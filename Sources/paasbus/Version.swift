import CBuild
import Presence

/// Which paasbus this is. The packages and the changelog have the version from here.
enum Version {
  static let text = "0.1.0"

  /// nil where it was not built from a repository.
  static var commit: String? {
    let commit = String(cString: cbuild_commit())
    return commit.isEmpty ? nil : commit
  }

  static let swift: String = {
    #if compiler(>=6.4)
      "6.4 or later"
    #elseif compiler(>=6.3)
      "6.3"
    #elseif compiler(>=6.2)
      "6.2"
    #else
      "6.1"
    #endif
  }()

  static var hiredis: String { String(cString: cbuild_hiredis()) }

  /// What can be built in.
  static let features = ["tls", "cluster", "sentinel", "panel", "relay", "express-sessions"]
}
