/// How a command is to be run, as the command line says.
public struct CommandPlan: Sendable, Hashable {
  /// Whether the command leads its own process group; signals then go to the whole group.
  public var leadsGroup = false
  public var forwards = true
  public var platformSignalsAll = false
  /// Whether orphans become our children where we are not process 1.
  public var adoptsOrphans = false
  /// The signal to send instead of another; nil to send none.
  public var rewrites: [CInt: CInt?] = [:]
  /// Exit statuses of the command, as a shell tells them, that count as 0.
  public var acceptedExits: Set<Int32> = []
  /// How long we wait for the announcer after the command has ended.
  public var stopTimeout = Duration.seconds(3)
  /// Whether we print only errors.
  public var isQuiet = false
  /// Variables that are added to the command's environment.
  public var variables: [Variable] = []

  public struct Variable: Sendable, Hashable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      (self.name, self.value) = (name, value)
    }
  }

  public init() {}
}

/// The plan as the announcer, which reads the command line, sends it to the supervisor: words
/// `name=value`, each with a zero after it; the last word is empty.
extension CommandPlan {
  var words: [String] {
    var words = [
      "group=\(leadsGroup ? 1 : 0)", "forwards=\(forwards ? 1 : 0)",
      "platform=\(platformSignalsAll ? 1 : 0)", "adopts=\(adoptsOrphans ? 1 : 0)",
      "quiet=\(isQuiet ? 1 : 0)", "timeout=\(stopTimeout / .milliseconds(1))",
    ]
    for (from, to) in rewrites { words.append("signal=\(from)>\(to ?? 0)") }
    for status in acceptedExits { words.append("accepts=\(status)") }
    for variable in variables { words.append("variable=\(variable.name)=\(variable.value)") }
    return words
  }

  init(words: [String]) {
    for word in words {
      guard let (name, value) = Self.parts(word, at: "=") else { continue }
      switch name {
      case "group": leadsGroup = value == "1"
      case "forwards": forwards = value == "1"
      case "platform": platformSignalsAll = value == "1"
      case "adopts": adoptsOrphans = value == "1"
      case "quiet": isQuiet = value == "1"
      case "timeout": if let time = Double(value) { stopTimeout = .milliseconds(1) * time }
      case "signal":
        guard let (from, to) = Self.parts(value, at: ">"), let from = CInt(from),
          let to = CInt(to)
        else { continue }
        rewrites[from] = .some(to == 0 ? nil : to)
      case "accepts": if let status = Int32(value) { acceptedExits.insert(status) }
      case "variable":
        guard let (name, value) = Self.parts(value, at: "=") else { continue }
        variables.append(Variable(name: name, value: value))
      default: continue
      }
    }
  }

  static func parts(_ word: String, at separator: Character) -> (String, String)? {
    guard let index = word.firstIndex(of: separator) else { return nil }
    return (String(word[..<index]), String(word[word.index(after: index)...]))
  }
}
