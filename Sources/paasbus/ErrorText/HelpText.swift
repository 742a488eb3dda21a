import Views

/// The parser's help, in the order in which people read it.
enum HelpText {
  /// Puts a command's own options before its groups of options, such as those of the connection, which
  /// all commands share. It also removes full stops, since our own texts have none.
  static func ordered(_ help: String) -> String {
    var sections = help.split(separator: "\n\n").map {
      String($0.trimmingPrefix { $0 == "\n" }).trimmingEnd(of: UInt8(ascii: "\n"))
    }
    let groups = ["RELAY:\n", "CONNECTION:\n"]
    if let first = sections.firstIndex(where: { groups.contains(where: $0.hasPrefix) }),
      let own = sections.firstIndex(where: { $0.hasPrefix("OPTIONS:\n") }), first < own
    {
      sections.insert(sections.remove(at: own), at: first)
    }
    return sections.joined(separator: "\n\n")
      .replacing(" <options>\n", with: " [<options>]\n")
      .replacing("[<options>] -- [<command> ...]", with: "[<options>] [-- <command> ...]")
      .replacing("Show the version.", with: "Show the version")
      .replacing("Show help information.", with: "Show help information")
  }
}
