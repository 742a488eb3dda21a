import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A line below the output that scrolls; it changes in place.
///
/// It is written after the last line, and the cursor stays at its beginning. So even if the
/// terminal breaks it into rows when the size changes, all of it is after the cursor and can be
/// erased. While another process group has the terminal, for example after Ctrl-Z and `bg`, it is
/// not shown.
package final class StatusLine: Drawing {
  private struct State: Sendable {
    /// The text for a number of columns.
    var text: (@Sendable (Int) -> String)?
    /// The text that is shown now; nil for none.
    var shown: String?
    var isAway = true
    var mode: TerminalMode?
    var backlog: Backlog
  }

  /// Erases the row of the cursor (EL, ECMA-48, 8.3.41) and, from the next one on, all below (ED,
  /// 8.3.39), where the text may have been broken into rows. This is not done with one sequence
  /// from the first row on, since tmux would then keep the erased text in its history.
  private static let erase = "\r\u{1b}7\u{1b}[K\u{1b}[B\u{1b}[J\u{1b}8"

  private let descriptor: CInt
  private let state: Mutex<State>

  /// nil where `descriptor` does not lead to a terminal that can show it.
  package init?(descriptor: CInt, environment: [String: String]) {
    guard CurrentDrawing.isPossible(on: descriptor, environment: environment) else { return nil }
    self.descriptor = descriptor
    state = Mutex(State(backlog: Backlog(descriptor)))
  }

  /// Shows another text from now on.
  ///
  /// - Parameters:
  ///   - lines: whole lines to write above it.
  ///   - text: gives the text that fits a number of columns.
  /// - Returns: whether the terminal has taken all; if not, ``finish()`` waits for it.
  /// - Throws: as `StandardStreams.write`.
  @discardableResult
  package func show(
    behind lines: [UInt8] = [], _ text: @escaping @Sendable (_ columns: Int) -> String
  ) throws -> Bool {
    func show(_ state: inout State) throws {
      state.text = text
      try draw(behind: lines, &state)
    }
    // Without lines, nothing is lost if another thread is just writing, since that is as recent.
    guard !lines.isEmpty else {
      try state.withLockIfAvailable { state in
        try state.backlog.write([])
        if state.backlog.isEmpty { try show(&state) }
      }
      return true
    }
    return try state.withLock { state in
      try show(&state)
      return state.backlog.isEmpty
    }
  }

  /// Waits until the terminal has taken all.
  ///
  /// - Throws: as `StandardStreams.write`.
  package func finish() throws { try state.withLock { try $0.backlog.finish() } }

  /// Writes the lines and, where it has changed or was erased for them, the text.
  private func draw(behind lines: [UInt8], _ state: inout State) throws {
    let isVisible = !state.isAway && TerminalMode.isOurs(descriptor)
    if isVisible, state.mode == nil { state.mode = TerminalMode.withoutEcho(descriptor) }
    // The last column stays free: some terminals break the line once it is taken.
    let columns = (TerminalSize.of(descriptor)?.columns ?? 80) - 1
    let status = isVisible ? state.text.map { "\($0(columns))\r" } : nil
    guard !lines.isEmpty || status != state.shown else { return }
    let erase = state.shown == nil ? "" : Self.erase
    let bytes = Array(erase.utf8) + lines + Array((status ?? "").utf8)
    try state.backlog.write(bytes)
    state.shown = status
  }

  // MARK: Drawing

  package func say(_ text: String) {
    state.withLockSoon { state in
      state.backlog.finishSoon()
      if StandardStreams.isTerminal(STDERR_FILENO) { eraseShown(&state) }
      StandardStreams.writeError(text)
      try? draw(behind: [], &state)
    }
  }

  package func suspend() {
    state.withLockSoon { state in
      state.backlog.finishSoon()
      eraseShown(&state)
      state.isAway = true
      state.mode?.restore()
      state.mode = nil
    }
  }

  package func resume() {
    state.withLockSoon { state in
      state.isAway = false
      try? draw(behind: [], &state)
    }
  }

  package func resize() {
    state.withLockSoon { state in
      eraseShown(&state)
      try? draw(behind: [], &state)
    }
  }

  package func close() { suspend() }

  private func eraseShown(_ state: inout State) {
    if state.shown != nil { StandardStreams.writeSoon(Array(Self.erase.utf8), to: descriptor) }
    state.shown = nil
  }
}
