import Presence
import Synchronization

/// Where a watch is shown: lines that scroll by and, on a terminal, a status line below them.
final class WatchDisplay: Sendable {
  private static let tick = Duration.seconds(1)

  private struct State {
    var rendering: WatchRendering
    var status = WatchStatus()
  }

  private let filter: WatchFilter
  private let typography: Typography
  /// nil where only lines are wanted.
  let statusLine: StatusLine?
  private let state: Mutex<State>

  init(isJSON: Bool, filter: WatchFilter, typography: Typography, environment: [String: String]) {
    self.filter = filter
    self.typography = typography
    statusLine = isJSON ? nil : StatusLine(descriptor: 1, environment: environment)
    let rendering = WatchRendering(
      isJSON: isJSON, typography: typography,
      tellsDays: typography.columns == nil ? .nowhere : .whereItChanges, now: LocalTime.now)
    state = Mutex(State(rendering: rendering))
  }

  /// Shows what has passed the filter.
  ///
  /// - Throws: as `StandardStreams.write`.
  func show(_ batch: [WatchOutput]) throws {
    let bytes = state.withLock { state in
      if typography.columns != nil { state.rendering.columns = TerminalSize.of(1)?.columns }
      if statusLine != nil {
        for output in batch { state.status.take(output) }
      }
      return state.rendering.lines(filter.isOpen ? batch : batch.filter(filter.passes))
    }
    if statusLine != nil {
      try refresh(behind: bytes)
    } else if !bytes.isEmpty {
      try StandardStreams.write(bytes)
    }
  }

  func take(_ notice: Watcher.Notice) {
    switch notice {
    case .waitingForBus: update { $0.connection = .waiting }
    case .connectionLost: update { $0.connection = .lost }
    case .watching, .connectionBack: update { $0.connection = .connected }
    case .cannotReap, .otherApp, .manyOtherApps: break
    }
  }

  /// Changes what the status line tells.
  func update(_ change: (inout WatchStatus) -> Void) {
    state.withLock { change(&$0.status) }
    // What cannot be written now is told by the next line.
    try? refresh()
  }

  private func refresh(behind lines: [UInt8] = []) throws {
    let status = state.withLock(\.status)
    try statusLine?.show(behind: lines) { [typography] columns in
      status.line(columns: columns, typography)
    }
  }

  /// Keeps the ages on the status line right, until the task is cancelled.
  func keepFresh() async {
    guard statusLine != nil else { return }
    while !Task.isCancelled {
      try? refresh()
      try? await Task.sleep(for: Self.tick)
    }
  }
}
