import ExpressSessions
import Synchronization
import Terminal
import Views

/// A `sessions list` under way.
final class SessionListing: Sendable {
  /// How long it may take before a bar shows how far it is.
  private static let patience = Duration.seconds(1)

  private let store: SessionStore
  private let passes: @Sendable (Session) -> Bool
  private let isJSON: Bool
  private let typography: Typography
  private let begun = ContinuousClock.now
  private let table: Mutex<SessionTable>
  private let isOutputDrawn: Bool
  let statusLine: StatusLine?

  init(
    json: Bool, _ setup: Setup, _ store: SessionStore,
    passes: @escaping @Sendable (Session) -> Bool
  ) {
    self.store = store
    self.passes = passes
    isJSON = json
    typography = Typography.of(
      descriptor: 1, color: setup.options.color, environment: setup.environment)
    table = Mutex(SessionTable(isJSON: json, typography: typography))
    // Lines go through the bar where both are on one terminal.
    isOutputDrawn = StandardStreams.isTerminal(1)
    statusLine =
      setup.diagnostics.isQuiet
      ? nil : StatusLine(descriptor: isOutputDrawn ? 1 : 2, environment: setup.environment)
  }

  /// - Throws: ``Failure`` where there is nothing under the prefix, `RedisError`, and as
  ///   `StandardStreams.write`.
  func run() async throws {
    var isEmpty = true
    try await store.forEachPage { page in
      if !page.sessions.isEmpty { isEmpty = false }
      let lines = table.withLock { $0.add(page.sessions.filter(passes)) }
      try show(lines, progress: page.progress)
    }
    guard !isEmpty else { throw Failure(noSessionsUnder: store.prefix) }
    let (lines, totals) = table.withLock { ($0.end(), $0.totals) }
    CurrentDrawing.close()
    try StandardStreams.write(lines)
    if isJSON {
      StandardStreams.writeError("\(totals.text)\n")
    } else {
      let text = totals.count == 0 ? "no sessions match" : totals.text
      try StandardStreams.write(Array("\(text)\n".utf8))
    }
  }

  private func show(_ lines: [UInt8], progress: Double?) throws {
    guard let statusLine, ContinuousClock.now - begun > Self.patience else {
      return try StandardStreams.write(lines)
    }
    if !isOutputDrawn { try StandardStreams.write(lines) }
    let found = table.withLock { $0.totals.count }
    try statusLine.show(behind: isOutputDrawn ? lines : []) { [typography] columns in
      ProgressBar(progress: progress, text: count(found, "session")).line(columns, typography)
    }
  }
}
