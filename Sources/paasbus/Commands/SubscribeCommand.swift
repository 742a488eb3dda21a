import ArgumentParser
import PaasbusRedis
import Terminal
import Views

struct SubscribeCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "subscribe", _superCommandName: "paasbus",
    abstract: "Show the messages of channels as they arrive",
    discussion: """
      A channel that contains *, ? or [ is a pattern. Messages that are published while there is no \
      connection are lost; 'paasbus watch' follows instances without missing any.

      Examples:
        paasbus subscribe jobs:done
        paasbus subscribe --json --count 1 'JOB:*'
      """
  )

  @Flag(help: "Print one JSON object per line")
  var json = false

  @Option(help: "Stop after this many messages")
  var count: Int?

  @Argument(help: ArgumentHelp("Channels or patterns", valueName: "channel"))
  var channels: [String]

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    if let count, count < 1 { throw ValidationError("--count must be at least 1") }
    if channels.contains("") { throw ValidationError("a channel is empty") }
  }

  var run: CommandRun { .following(isDrawing: false) { try await listen() } }

  private func listen() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let connector = try await setup.connector()
    let patterns = channels.filter { $0.contains { "*?[".contains($0) } }
    let listener = RedisListener(
      connector: connector, channels: channels.filter { !patterns.contains($0) },
      patterns: patterns
    ) { notice in
      Self.report(notice, connector.endpoint, setup.diagnostics)
    }
    let rendering = MessageRendering(isJSON: json, isForTerminal: StandardStreams.isTerminal(1))
    var missing = count ?? .max
    try await listener.run { batch in
      let wanted = batch.prefix(missing)
      missing -= wanted.count
      try await StandardStreams.writeAll(wanted.flatMap(rendering.line))
      return missing > 0
    }
  }

  private static func report(
    _ notice: RedisListener.Notice, _ endpoint: RedisEndpoint, _ diagnostics: Diagnostics
  ) {
    switch notice {
    case .listening: diagnostics.note(.listening(url: endpoint.redactedURL))
    case .connectionLost(let error): diagnostics.note(.messagesLost(error))
    case .connectionBack: diagnostics.note(.messagesBack)
    }
  }
}
