import Presence

/// Text that was not written by us, made safe to show.
package enum Visible {
  /// Control, escape and bidirectional characters as visible escapes.
  package static func text(_ untrusted: String) -> String {
    let isPlain = untrusted.utf8.withContiguousStorageIfAvailable {
      $0.allSatisfy(\.isPrintableASCII)
    }
    guard isPlain != true, untrusted.unicodeScalars.contains(where: \.isUnsafeInText)
    else { return untrusted }
    var safe = ""
    for scalar in untrusted.unicodeScalars {
      switch scalar {
      case "\n": safe += "\\n"
      case "\r": safe += "\\r"
      case "\t": safe += "\\t"
      case _ where scalar.isUnsafeInText:
        safe += "\\u{\(String(scalar.value, radix: 16))}"
      default: safe.unicodeScalars.append(scalar)
      }
    }
    return safe
  }
}
