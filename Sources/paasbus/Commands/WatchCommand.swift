import ArgumentParser
import PaasbusRedis
import Presence
import Terminal
import Views

struct WatchCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", _superCommandName: "paasbus",
    abstract: "Follow the instances of an app as they join and leave",
    discussion: """
      --exec runs a shell command for each event, one at a time and in order. The command gets the \
      event's JSON on standard input and its members in PAASBUS_EVENT_TYPE, _NAME, _ID, _RELEASE, \
      _REASON, _EXIT and so on. A slow command still gets every event that is in the history.

      --handler gives that command a name, and the bus keeps its position. A watch that is started \
      again continues there, and of several watches with the same name only one runs the command. \
      A new name begins now, or with --since. An event may be handled twice if the watch is killed.

      Examples:
        paasbus watch --since 1h --only lost,stop
        paasbus watch --only lost --exec 'echo "$PAASBUS_EVENT_NAME" >> lost.log'
        paasbus watch --only lost --exec ./page-me --handler pager
      """
  )

  @Flag(help: "Print one JSON object per line")
  var json = false

  @Option(
    help: ArgumentHelp(
      "First show the events of the last 30m, 12h, 3d, or all", valueName: "duration"))
  var since: SinceArgument?

  @Flag(help: "Do not show the instances that are already present")
  var noSnapshot = false

  @Option(
    help: ArgumentHelp("Show only these event types, separated by commas", valueName: "types"))
  var only: TypesArgument?

  @Option(help: ArgumentHelp("Show only instances whose name matches", valueName: "glob"))
  var name: String?

  @Option(help: ArgumentHelp("Run this shell command for each event", valueName: "command"))
  var exec: String?

  @Option(
    help: ArgumentHelp("Time limit of that command for one event", valueName: "duration"))
  var execTimeout = DurationArgument(.seconds(30))

  @Option(
    help: ArgumentHelp(
      "Keep the position of that command on the bus, and run it in one of the watches with this name",
      valueName: "name"))
  var handler: String?

  @Option(
    help: ArgumentHelp(
      "Number of times to run that command again for an event when it fails (default: 3 with --handler, else 0)",
      valueName: "count"))
  var execRetries: Int?

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    if exec == nil, handler != nil || execRetries != nil {
      throw ValidationError("--handler and --exec-retries need --exec")
    }
    if let handler, !HandlerName.isValid(handler) { throw HandlerName.error }
    if let execRetries, !(0...1000).contains(execRetries) {
      throw ValidationError("--exec-retries must be a number from 0 to 1000")
    }
    if let exec, exec.isEmpty { throw ValidationError("--exec must not be empty") }
    guard execTimeout.duration > .zero else {
      throw ValidationError("--exec-timeout must be greater than 0")
    }
  }

  var run: CommandRun { .following(isDrawing: !json) { try await watch() } }

  private func watch() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let connector = try await setup.connector()
    let app = try await setup.readableApp(by: connector)
    let filter = WatchFilter(types: only?.types, name: name)
    let display = WatchDisplay(
      isJSON: json, filter: filter,
      typography: .of(
        descriptor: 1, color: connection.color, environment: setup.environment),
      environment: setup.environment)
    let handling = exec.map { eventHandling($0, filter, connector, display) }
    if let app { try await handling?.begin(app: app, since: since?.since) }
    var options = Watcher.Options()
    options.channel = setup.channel
    options.since = since?.since
    options.showsSnapshot = !noSnapshot
    options.keepsRoster = display.statusLine != nil
    let hub = Hub(
      Watcher(app: app, connector: connector, options: options) { notice in
        if case .watching(let app, _) = notice { handling?.begin(withNew: app) }
        setup.diagnostics.report(notice, connector.endpoint)
      })
    @Sendable func status() -> WatchStatus { WatchStatus(hub.state, handling: handling?.progress) }
    try await CurrentDrawing.with(display.statusLine) {
      async let _ = display.keepFresh(hub, on: connector.thread, status)
      async let _ = handling?.run(beside: hub)
      try await hub.run { try await display.show($0, status()) }
    }
  }

  private func eventHandling(
    _ command: String, _ filter: WatchFilter, _ connector: RedisConnector,
    _ display: WatchDisplay
  ) -> any EventHandling {
    let handler = EventHandler(
      command: command, limit: execTimeout.duration,
      output: HandlerOutput.open(isDrawing: display.statusLine != nil))
    let attempts = HandlerAttempts(
      handler: handler, retries: execRetries ?? (self.handler == nil ? 0 : 3))
    guard let name = self.handler else {
      return UnnamedHandling(attempts, filter: filter, connector: connector)
    }
    return NamedHandling(
      name, attempts, filter: filter, connector: connector, connection.diagnostics)
  }
}

/// What a handler can be called, so that it can be shown and typed anywhere.
enum HandlerName {
  static let error = ValidationError(
    "--handler must have 1 to 100 of the characters A-Z a-z 0-9 . _ -")

  static func isValid(_ name: String) -> Bool { !name.isEmpty && Keys.appName(from: name) == name }
}

/// How far back: a duration, or everything.
struct SinceArgument: ExpressibleByArgument {
  static let all = SinceArgument(.beginning)

  var since: Watcher.Since

  init(_ since: Watcher.Since) {
    self.since = since
  }

  var defaultValueDescription: String { "all" }

  init?(argument: String) {
    if argument == "all" {
      since = .beginning
    } else if let duration = DurationArgument(argument: argument)?.duration {
      since = .ago(duration)
    } else {
      return nil
    }
  }
}

/// Types of events with commas between them.
struct TypesArgument: ExpressibleByArgument {
  static var allValueStrings: [String] { EventType.allCases.map(\.rawValue) }
  static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }

  var types: Set<EventType>

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    let found = words.compactMap { EventType(rawValue: String($0)) }
    guard !found.isEmpty, found.count == words.count else { return nil }
    types = Set(found)
  }
}
