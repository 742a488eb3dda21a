import Foundation
import PaasbusRedis

/// A real terminal (tmux) in which a program runs, to type into and to read from.
package final class Terminal: Sendable {
  private let name = "paasbus-test-\(UUID().uuidString.prefix(12))"
  private let environment: [String: String]

  /// Runs `body` with a terminal, which is closed afterwards.
  package static func with(
    _ command: String, columns: Int = 80, rows: Int = 24, environment: [String: String] = [:],
    _ body: (Terminal) async throws -> Void
  ) async throws {
    let terminal = Terminal(environment)
    try await terminal.tmux(
      "-f", "/dev/null", "new-session", "-d", "-x", "\(columns)", "-y", "\(rows)", command)
    do {
      try await body(terminal)
      _ = try? await terminal.tmux("kill-server")
    } catch {
      _ = try? await terminal.tmux("kill-server")
      throw error
    }
  }

  private init(_ environment: [String: String]) {
    self.environment = ManagedProcess.bareEnvironment
      .merging(["LANG": "C.UTF-8"].merging(environment) { $1 }) { $1 }
  }

  @discardableResult
  private func tmux(_ words: String...) async throws -> String {
    let process = try ManagedProcess("tmux", ["-L", name] + words, environment: environment)
    guard try await process.exitStatus() == 0 else {
      throw Impatience(description: "tmux: \(process.errorOutput)")
    }
    return process.output
  }

  /// Types text as it is.
  package func type(_ text: String) async throws { try await tmux("send-keys", "-l", text) }

  /// Presses a key by tmux' name for it, as `Enter` or `C-c`.
  package func press(_ key: String) async throws { try await tmux("send-keys", key) }

  package func enter(_ line: String) async throws {
    try await type(line)
    try await press("Enter")
  }

  package var screen: String {
    get async throws { try await tmux("capture-pane", "-p") }
  }

  /// The screen and all that has scrolled out of it.
  package var everything: String {
    get async throws { try await tmux("capture-pane", "-p", "-S", "-") }
  }

  /// The screen without what is empty at the ends of its rows and below them.
  package var picture: String {
    get async throws {
      var rows = try await screen.split(separator: "\n", omittingEmptySubsequences: false).map {
        $0.replacing(#/ +$/#, with: "")
      }
      while rows.last == "" { rows.removeLast() }
      return rows.isEmpty ? "" : rows.joined(separator: "\n") + "\n"
    }
  }

  /// The row in which the cursor stands.
  package var cursorRow: String {
    get async throws {
      let number = try await tmux("display-message", "-p", "#{cursor_y}")
      let rows = try await screen.split(separator: "\n", omittingEmptySubsequences: false)
      return Int(number.prefix { $0.isNumber }).flatMap { rows.at($0) }.map(String.init) ?? ""
    }
  }

  package func resize(columns: Int, rows: Int) async throws {
    try await tmux("resize-window", "-x", "\(columns)", "-y", "\(rows)")
  }

  /// Waits until the screen shows something.
  package func expect(_ what: String, _ holds: @escaping (String) -> Bool) async throws {
    var last = ""
    do {
      try await eventually(what) {
        last = try await self.screen
        return holds(last)
      }
    } catch {
      throw Impatience(description: "\(error), but:\n\(last)")
    }
  }

  package func expect(_ text: String) async throws {
    try await expect("\(text) is shown") { $0.contains(text) }
  }
}
