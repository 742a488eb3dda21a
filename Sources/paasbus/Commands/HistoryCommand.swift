import ArgumentParser
import PaasbusRedis
import Presence
import Terminal
import Views

struct HistoryCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "history", _superCommandName: "paasbus",
    abstract: "Show past events, oldest first",
    discussion: """
      The bus keeps about 1,000 events (see 'paasbus announce --history'). Times are local (TZ).

      Examples:
        paasbus history --since 12h --only lost,stop
        paasbus history --since 2h --chart
      """
  )

  @Flag(help: "Print one JSON object per line")
  var json = false

  @Option(
    help: ArgumentHelp(
      "Show only the events of the last 30m, 12h, 3d, or all", valueName: "duration"))
  var since = SinceArgument.all

  @Option(
    name: .customShort("n"),
    help: ArgumentHelp("Show only this many of the last events", valueName: "count"))
  var count: Int?

  @Option(
    help: ArgumentHelp("Show only these event types, separated by commas", valueName: "types"))
  var only: TypesArgument?

  @Option(help: ArgumentHelp("Show only instances whose name matches", valueName: "glob"))
  var name: String?

  @Flag(help: "Draw a chart of how many instances were up, with a line for each")
  var chart = false

  @Option(
    help: ArgumentHelp(
      "Show the position of the handler with this name (see 'paasbus watch --handler')",
      valueName: "name"))
  var handler: String?

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    if let count, count < 1 { throw ValidationError("-n must be at least 1") }
    if chart, json || count != nil || only != nil {
      throw ValidationError("--chart can be used with --since and --name only")
    }
    if let handler {
      guard HandlerName.isValid(handler) else { throw HandlerName.error }
      guard !chart, count == nil, only == nil, name == nil, since.since == .beginning else {
        throw ValidationError("--handler can be used with --json only")
      }
    }
  }

  var run: CommandRun { .onPool { try await tell() } }

  private func tell() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let connector = try await setup.connector()
    guard let app = try await setup.readableApp(by: connector) else {
      return setup.diagnostics.note(.neverAnnounced(app: nil))
    }
    let keys = Keys(app: app)
    let typography = Typography.of(
      descriptor: 1, color: connection.color, environment: setup.environment)
    try await connector.routed(to: keys.bus).withConnection { connection in
      let bus = try await BusState.read(keys: keys, on: connection)
      try setup.check(channel: bus.channel, of: app)
      guard let end = bus.position else {
        return setup.diagnostics.note(.neverAnnounced(app: app))
      }
      if let handler {
        let standing = try await HandlerStanding.read(handler, keys: keys, on: connection)
        return try StandardStreams.write(
          json ? standing.json : Array(standing.text.utf8))
      }
      let now = try await ServerClock.read(on: connection).now
      let earliest = since.since.earliest(now: now)
      let filter = WatchFilter(types: only?.types, name: name)
      let reading = HistoryReading(
        keys: keys, end: end, earliest: earliest, on: connection, filter: filter.passes)
      if chart {
        let snapshot = try await Snapshot.read(keys: keys, on: connection)
        try await draw(reading, snapshot, earliest: earliest, filter, typography)
      } else {
        try await show(reading, typography)
      }
    }
  }

  private func show(_ reading: HistoryReading, _ typography: Typography) async throws {
    var rendering = WatchRendering(
      isJSON: json, typography: typography,
      tellsDays: typography.columns == nil ? .everywhere : .whereItChanges, now: LocalTime.now)
    try await reading.read(last: count) { page in
      try StandardStreams.write(rendering.lines(page))
    }
  }

  private func draw(
    _ reading: HistoryReading, _ snapshot: Snapshot, earliest: Int64, _ filter: WatchFilter,
    _ typography: Typography
  ) async throws {
    var lives = Lives()
    try await reading.read { page in
      for case .event(let event, _) in page { lives.add(event) }
    }
    for status in snapshot.instances where filter.passes(.snapshot(status)) { lives.add(status) }
    let chart = LifeChart(
      lives: lives, earliest: earliest, now: snapshot.now, typography: typography)
    try StandardStreams.write(Array(chart.text.utf8))
  }
}
