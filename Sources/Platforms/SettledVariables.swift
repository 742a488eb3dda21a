extension [String: String] {
  /// The variables that count: blanks and newlines at the end of a value, as a secret's file leaves
  /// them, are not part of it, and an empty one is not set.
  package var settled: [String: String] {
    compactMapValues { value in
      let settled = value.withoutTrailingBlanks
      return settled.isEmpty ? nil : settled
    }
  }
}

extension String {
  var withoutTrailingBlanks: String {
    guard last?.isWhitespace == true else { return self }
    var rest = self[...]
    while rest.last?.isWhitespace == true { rest.removeLast() }
    return String(rest)
  }
}
