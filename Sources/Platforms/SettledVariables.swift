import PaasbusRedis

extension [String: String] {
  /// The variables that count: blanks and newlines at the end of a value, as a secret's file leaves
  /// them, are not part of it, and an empty one is not set.
  package var settled: [String: String] {
    compactMapValues(\.settled)
  }

  /// One of them.
  package func settled(_ name: String) -> String? { self[name]?.settled }
}

extension [String: String] {
  /// A variable that names something of ours; nil where it surely holds a secret instead, which would
  /// stand in keys and messages.
  package func settledName(_ name: String) -> String? {
    settled(name).flatMap { SecretKind.isCertain($0) ? nil : $0 }
  }
}

extension String {
  /// nil where nothing is left.
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
