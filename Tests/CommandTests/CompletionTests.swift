import Foundation
import TestSupport
import Testing

@Suite("Completions")
struct CompletionTests {
  /// Writes the script for a shell into a folder that has a `paasbus` too.
  private func with(
    _ shell: String, _ body: (_ script: String, _ path: String) async throws -> Void
  )
    async throws
  {
    let folder = URL(filePath: "/tmp/paasbus-test-\(UUID().uuidString.prefix(12))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let process = try Paasbus.start("--generate-completion-script", shell)
    #expect(try await process.exitStatus() == 0)
    let script = folder.appending(path: "_paasbus")
    try Data(process.bytes).write(to: script)
    try await body(script.path, URL(filePath: Paasbus.path).deletingLastPathComponent().path)
  }

  private func folder(of script: String) -> String {
    URL(filePath: script).deletingLastPathComponent().path
  }

  private static let cases = [
    ("paasbus wat", "watch"), ("paasbus watch --exec-t", "--exec-timeout"),
    ("paasbus watch --color al", "always"), ("paasbus list --state ove", "overdue"),
    ("paasbus local star", "start"), ("paasbus watch --only forg", "forgotten"),
  ]

  @Test("fish", arguments: cases)
  func fish(line: String, completion: String) async throws {
    try await with("fish") { script, path in
      let fish = try ManagedProcess(
        "fish", ["--no-config", "-c", "source \(script); complete -C '\(line)'"],
        environment: ["PATH": "\(path):/usr/bin:/bin", "HOME": folder(of: script)])
      #expect(try await fish.exitStatus() == 0, "\(fish.errorOutput)")
      let found = fish.lines.map { $0.split(separator: "\t").first.map(String.init) }
      #expect(found.contains(completion), "\(fish.output) \(fish.errorOutput)")
    }
  }

  @Test("bash", arguments: cases)
  func bash(line: String, completion: String) async throws {
    try await with("bash") { script, path in
      try await expect(
        completion, of: line, path: path, shell: "bash --norc --noprofile -i",
        loading: "source \(script)")
    }
  }

  @Test("zsh", arguments: cases)
  func zsh(line: String, completion: String) async throws {
    try await with("zsh") { script, path in
      let folder = folder(of: script)
      try await expect(
        completion, of: line, path: path, shell: "HOME=\(folder) zsh -f",
        loading: "fpath=(\(folder) $fpath); autoload -U compinit; compinit -u")
    }
  }

  /// Types a line and the tab key in a shell, and expects its last word to be completed.
  private func expect(
    _ completion: String, of line: String, path: String, shell: String, loading: String
  ) async throws {
    let command = "env PATH=\(path):/usr/bin:/bin PS1=ready\\> \(shell)"
    try await Terminal.with(command, columns: 120) { terminal in
      try await terminal.expect("ready>")
      try await terminal.enter("\(loading); echo loa'ded'")
      try await terminal.expect("\nloaded\nready>")
      try await terminal.type(line)
      try await terminal.press("Tab")
      let start = line.split(separator: " ").dropLast().joined(separator: " ")
      try await terminal.expect("\(start) \(completion)")
    }
  }
}
