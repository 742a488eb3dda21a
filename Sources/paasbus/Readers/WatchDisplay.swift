import PaasbusRedis
import Presence
import Synchronization
import Terminal
import Views

/// Where a watch is shown: lines that scroll by and, on a terminal, a status line below them.
final class WatchDisplay: Sendable {
  private static let tick = Duration.seconds(1)

  private let filter: WatchFilter
  private let typography: Typography
  /// nil where only lines are wanted.
  let statusLine: StatusLine?
  private let rendering: Mutex<WatchRendering>

  init(isJSON: Bool, filter: WatchFilter, typography: Typography, environment: [String: String]) {
    self.filter = filter
    self.typography = typography
    statusLine = isJSON ? nil : StatusLine(descriptor: 1, environment: environment)
    let rendering = WatchRendering(
      isJSON: isJSON, typography: typography,
      tellsDays: typography.columns == nil ? .nowhere : .whereItChanges, now: LocalTime.now)
    self.rendering = Mutex(rendering)
  }

  /// Shows the output that passes the filter, and the status below it.
  ///
  /// - Throws: as `StandardStreams.write`.
  func show(_ batch: [WatchOutput], _ status: @autoclosure () -> WatchStatus) async throws {
    let bytes = rendering.withLock { rendering in
      if typography.columns != nil { rendering.columns = TerminalSize.of(1)?.columns }
      return rendering.lines(filter.isOpen ? batch : batch.filter(filter.passes))
    }
    guard let statusLine else { return try await StandardStreams.writeAll(bytes) }
    guard try !refresh(status(), behind: bytes) else { return }
    try await StandardStreams.patiently { try statusLine.finish() }
  }

  /// - Returns: whether the terminal has taken all.
  private func refresh(_ status: WatchStatus, behind lines: [UInt8] = []) throws -> Bool {
    try statusLine?.show(behind: lines) { [typography] columns in
      status.line(columns: columns, typography)
    } ?? true
  }

  /// Keeps the status line up to date until the task is cancelled. It changes when something
  /// happens, and with time, since ages grow.
  func keepFresh(
    _ hub: Hub, on thread: ConnectionThread, _ status: @escaping @Sendable () -> WatchStatus
  ) async {
    guard statusLine != nil else { return }
    await withTaskGroup(of: Void.self) { group in
      // A failure to write is ignored here, since the next line that is written reports it.
      group.addTask { for await _ in hub.changes() { _ = try? self.refresh(status()) } }
      group.addTask {
        while !Task.isCancelled {
          try? await thread.sleep(toTickWithin: Self.tick)
          _ = try? self.refresh(status())
        }
      }
    }
  }
}
