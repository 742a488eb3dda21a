import PaasbusRedis

extension [String: String] {
  /// The variables that count. Blanks and newlines at the end of a value, which often come from a
  /// secret's file, are removed, and an empty variable counts as not set.
  package var settled: [String: String] {
    compactMapValues(\.settled)
  }

  /// One of these variables.
  package func settled(_ name: String) -> String? { self[name]?.settled }
}

extension [String: String] {
  /// A variable that names something of ours; nil where it surely contains a secret instead, since
  /// names appear in keys and messages.
  package func settledName(_ name: String) -> String? {
    settled(name).flatMap { SecretKind.isCertain($0) ? nil : $0 }
  }
}

extension String {
  /// nil where nothing is left of it.
  fileprivate var settled: String? {
    let settled = withoutTrailingBlanks
    return settled.isEmpty ? nil : settled
  }

  var withoutTrailingBlanks: String {
    guard last?.isWhitespace == true else { return self }
    var rest = self[...]
    while rest.last?.isWhitespace == true { rest.removeLast() }
    return String(rest)
  }
}
