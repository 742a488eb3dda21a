import ArgumentParser
import Presence
import Redis

struct WatchCommand: LastingCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "Follow the instances of an app as they join and leave.",
    discussion: """
      Examples:
        paasbus watch
        paasbus watch --json --since 1h --only lost,stop
      """
  )

  @Flag(help: "One JSON object a line.")
  var json = false

  @Option(help: "First show the history of this long, or 'all'.")
  var since: SinceArgument?

  @Flag(help: "Do not show who is there already.")
  var noSnapshot = false

  @Option(help: ArgumentHelp("Only these events, with commas between.", valueName: "types"))
  var only: TypesArgument?

  @Option(help: ArgumentHelp("Only instances whose name matches.", valueName: "glob"))
  var name: String?

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  var isDrawing: Bool { !json }

  func run(until signals: AsyncStream<String>) async throws {
    try await StandardStreams.untilUnread(or: signals) { try await watch() }
  }

  private func watch() async throws {
    let setup = Setup(connection)
    let connector = try await setup.connector()
    let app = try await setup.readableApp(by: connector)
    var options = Watcher.Options()
    options.channel = setup.channel
    options.since = since?.since
    options.showsSnapshot = !noSnapshot
    let display = WatchDisplay(
      isJSON: json, filter: WatchFilter(types: only?.types, name: name),
      typography: .of(
        descriptor: 1, color: connection.server.color, environment: setup.environment),
      environment: setup.environment)
    options.tellsWholes = display.statusLine != nil
    let watcher = Watcher(app: app, connector: connector, options: options) {
      Self.report($0, connector.endpoint, setup.diagnostics, display)
    }
    try await CurrentDrawing.with(display.statusLine) {
      async let _ = display.keepFresh()
      try await watcher.run { try display.show($0) }
    }
  }

  private static func report(
    _ notice: Watcher.Notice, _ endpoint: RedisEndpoint, _ diagnostics: Diagnostics,
    _ display: WatchDisplay
  ) {
    switch notice {
    case .waitingForBus: display.update { $0.connection = .waiting }
    case .connectionLost: display.update { $0.connection = .lost }
    case .watching, .connectionBack: display.update { $0.connection = .connected }
    case .cannotReap, .otherApp, .manyOtherApps: break
    }
    switch notice {
    case .waitingForBus: diagnostics.note("nobody has announced yet; waiting")
    case .watching(let app, let channel):
      diagnostics.note(
        "watching the bus \(app), channel \(channel), at \(endpoint.redactedURL)")
    case .connectionLost(let error): diagnostics.note("\(error.problem); trying again")
    case .connectionBack: diagnostics.note("connected to Redis again")
    case .cannotReap:
      diagnostics.detail("this user may not write, so leases that run out are left to others")
    case .otherApp(let app): diagnostics.note("the app \(app) uses the same channel; not shown")
    case .manyOtherApps: diagnostics.note("many more apps use the same channel; none is shown")
    }
  }
}

/// How far back: a duration, or everything.
struct SinceArgument: ExpressibleByArgument {
  var since: Watcher.Since

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
  var types: Set<EventType>

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    let found = words.compactMap { EventType(rawValue: String($0)) }
    guard !found.isEmpty, found.count == words.count else { return nil }
    types = Set(found)
  }
}
