import ArgumentParser
import PaasbusRedis
import Supervisor

/// Which parts of the command line an error may repeat. A value that looks like a secret is
/// replaced by its kind, in any place of the command line: for example a key in the place of a
/// file's name, or a URL without its option.
enum Echo {
  /// One argument, in quotes, or its kind.
  static func of(_ argument: String) -> String {
    kind(of: argument) ?? "'\(argument)'"
  }

  /// A name, or its kind where it looks like a secret instead.
  static func shown(_ name: String) -> String { SecretKind(of: name)?.rawValue ?? name }

  /// A value may be shown only if it is short and plain; any other may be part of a secret
  /// (`user:password`, base64).
  private static func kind(of value: String) -> String? {
    if let kind = SecretKind(of: value) { return kind.rawValue }
    let isPlain =
      value.count <= (isAboutSessions && !value.hasPrefix("-") ? maxWord : maxPlain)
      && value.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
    return isPlain || isRewrite(value) ? nil : "a text that may be a secret"
  }

  /// `TERM=QUIT`, as `--signal` takes it.
  private static func isRewrite(_ value: String) -> Bool {
    let parts = value.split(separator: "=", omittingEmptySubsequences: false)
    return parts.count == 2 && parts.allSatisfy { SignalName.parse(String($0)) != nil }
  }

  /// As long as the longest option.
  private static let maxPlain = 20

  /// Where words may be the names of sessions, with which one could log in, only those are shown that are as short
  /// as a command.
  private static var isAboutSessions: Bool { ProcessTitle.arguments.first == "sessions" }
  private static let maxWord = 8

  /// - Throws: `ValidationError` where a value that would be published is surely a secret.
  static func refuseSecret(_ value: String?, in option: String) throws {
    guard let value, SecretKind.isCertain(value), let kind = SecretKind(of: value) else { return }
    throw ValidationError("\(option) holds \(kind.rawValue), which would be published")
  }

  /// A replacement for a parser's message that contains a secret from the arguments; nil where the
  /// message contains none.
  ///
  /// The parser may show only a part of an argument, or change it. So the message is searched for
  /// pieces of each argument.
  static func problem(in message: String, of arguments: [String]) -> String? {
    var message = message
    // A harmless argument may be repeated, even where it is also a part of another argument.
    for argument in arguments.map(split) where kind(of: argument.value) == nil {
      message = message.replacing("'\(argument.value)'", with: "")
    }
    // The names of options are no part of a value, whatever letters they share with one.
    for option in arguments.map({ split($0).option ?? $0 })
    where isOption(option) && kind(of: option) == nil {
      message = message.replacing(option, with: "")
    }
    var before: String?
    for argument in arguments {
      defer { before = argument }
      let (option, value) = split(argument)
      guard let kind = kind(of: value), pieces(value).contains(where: message.contains) else {
        continue
      }
      let name = option ?? before.flatMap { isOption($0) ? $0 : nil }
      return name.map { "\(kind) is not a valid value for \($0)" }
        ?? "\(kind) is not expected here"
    }
    return nil
  }

  /// Shorter pieces would be found in almost any message.
  private static let minPiece = 4

  private static func pieces(_ value: String) -> [Substring] {
    value.split { !$0.isLetter && !$0.isNumber }.filter { $0.count >= minPiece }
  }

  /// The two parts of `--option=value`.
  private static func split(_ argument: String) -> (option: String?, value: String) {
    guard let equals = argument.firstIndex(of: "="), isOption(String(argument[..<equals])) else {
      return (nil, argument)
    }
    return (String(argument[..<equals]), String(argument[argument.index(after: equals)...]))
  }

  private static func isOption(_ text: String) -> Bool {
    text.hasPrefix("-") && text.count <= 20
      && text.drop { $0 == "-" }.allSatisfy { $0.isASCII && ($0.isLetter || $0 == "-") }
      && text.contains(where: \.isLetter)
  }
}
