import ArgumentParser
import Presence
import Terminal

struct VersionCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "version", _superCommandName: "paasbus",
    abstract: "Print the version, and what it was built from",
    discussion: """
      Examples:
        paasbus version
        paasbus version --json
      """
  )

  @Flag(help: "Print one JSON object")
  var json = false

  var run: CommandRun {
    .onMainThread {
      try StandardStreams.write(json ? object : lines)
      return ExitStatus.done.rawValue
    }
  }

  private var object: [UInt8] {
    var text = JSONText()
    text.member("version", Version.text)
    text.member("commit", Version.commit)
    text.member("swift", Version.swift)
    text.member("hiredis", Version.hiredis)
    let features = Version.features.map { "\"\($0)\"" }.joined(separator: ",")
    text.member("features", json: Array("[\(features)]".utf8))
    return text.line
  }

  private var lines: [UInt8] {
    let rows = [
      ("paasbus", Version.text), ("commit", Version.commit ?? "unknown"),
      ("swift", Version.swift), ("hiredis", Version.hiredis),
      ("features", Version.features.joined(separator: ", ")),
    ]
    return Array(rows.map { "\($0.0.padded(to: 8))  \($0.1)\n" }.joined().utf8)
  }
}
