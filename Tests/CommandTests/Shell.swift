import TestSupport

/// An interactive shell in a terminal, with `$P` for paasbus, which finds the server, and `$A` for
/// `paasbus announce -q`.
enum Shell {
  private static let prompt = "shell>"

  static func with(
    on server: RedisServer, columns: Int = 80, rows: Int = 24,
    _ body: (Terminal) async throws -> Void
  ) async throws {
    let environment = [
      "P": Paasbus.path, "A": "\(Paasbus.path) announce -q", "PAASBUS_URL": server.url,
    ]
    // The shell in which tmux starts it would take its prompt away.
    let shell = "env PS1='\(prompt) ' bash --norc --noprofile -i"
    try await Terminal.with(shell, columns: columns, rows: rows, environment: environment) {
      try await $0.expect(prompt)
      try await body($0)
    }
  }
}

extension Terminal {
  /// Waits until the shell reads what is typed.
  func awaitPrompt() async throws {
    do {
      // A full-screen program may leave what it drew below.
      try await eventually("the prompt") { try await cursorRow.hasSuffix("shell>") }
    } catch {
      throw Impatience(description: "\(error), but:\n\(try await screen)")
    }
  }

  /// Expects that the shell has its terminal as it was: what is typed is shown and edited.
  func expectUsualMode() async throws {
    try await awaitPrompt()
    try await enter("stty -a | grep -Eo '(^| )(icanon|echo|isig)' | xargs echo mode")
    try await expect("mode isig icanon echo")
  }
}
