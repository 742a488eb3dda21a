import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The whole terminal, in its alternate screen (xterm's private mode 1049), so that its earlier
/// content is shown again afterwards.
package final class Screen: Drawing {
  private struct State: Sendable {
    var isOpen = false
    var mode: TerminalMode?
    /// Whether the terminal may show something else than ``shown``.
    var isUnknown = false
    /// The rows that the terminal shows.
    var shown: [String] = []
    var backlog = Backlog(STDOUT_FILENO)
    /// Texts for the user that came while the screen was open.
    var said: [String] = []
  }

  private static let enter = "\u{1b}[?1049h\u{1b}[?25l"
  private static let clear = "\u{1b}[2J"
  private static let leave = "\u{1b}[?25h\u{1b}[?1049l"

  private let onResize: @Sendable () -> Void
  private let state = Mutex(State())

  /// - Parameter onResize: called when everything has to be drawn again.
  package init(onResize: @escaping @Sendable () -> Void) {
    self.onResize = onResize
  }

  /// Draws rows from the top. Only rows that have changed are written.
  ///
  /// - Returns: whether the terminal has taken all; if not, ``finish()`` waits for it.
  /// - Throws: as `StandardStreams.write`.
  package func draw(_ rows: [String]) throws -> Bool {
    try state.withLock { state in
      guard state.isOpen else { return true }
      var text = state.isUnknown ? Self.clear : ""
      for (number, row) in rows.enumerated()
      where number >= state.shown.count || state.shown[number] != row {
        text += "\u{1b}[\(number + 1);1H\(row)\u{1b}[K"
      }
      if rows.count < state.shown.count { text += "\u{1b}[\(rows.count + 1);1H\u{1b}[J" }
      (state.shown, state.isUnknown) = (rows, false)
      try state.backlog.write(Array(text.utf8))
      return state.backlog.isEmpty
    }
  }

  /// Waits until the terminal has taken all.
  ///
  /// - Throws: as `StandardStreams.write`.
  package func finish() throws { try state.withLock { try $0.backlog.finish() } }

  // MARK: Drawing

  package func say(_ text: String) {
    state.withLockSoon { $0.said.append(text) }
  }

  package func suspend() {
    state.withLockSoon { state in
      guard state.isOpen else { return }
      state.backlog.finishSoon()
      StandardStreams.writeSoon(Array(Self.leave.utf8))
      state.mode?.restore()
      (state.isOpen, state.mode, state.shown) = (false, nil, [])
    }
  }

  package func resume() {
    state.withLockSoon { state in
      guard !state.isOpen, TerminalMode.isOurs(STDIN_FILENO) else { return }
      CrashGuard.arm(leaving: Self.leave)
      state.mode = TerminalMode.raw(STDIN_FILENO)
      StandardStreams.writeSoon(Array(Self.enter.utf8))
      (state.isOpen, state.shown, state.isUnknown) = (true, [], true)
    }
    onResize()
  }

  package func resize() {
    state.withLockSoon { state in
      (state.shown, state.isUnknown) = ([], true)
    }
    onResize()
  }

  package func close() {
    suspend()
    let said = state.withLock { state in
      defer { state.said = [] }
      return state.said
    }
    for text in said { StandardStreams.writeError(text) }
  }
}
