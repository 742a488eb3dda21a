import ArgumentParser
import Gateway
import PaasbusRedis
import Presence
import Terminal

struct PublishCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "publish", _superCommandName: "paasbus",
    abstract: "Publish a message on a channel and print how many subscribers got it",
    discussion: """
      Without a message, or with '-', the message is read from standard input, byte for byte.

      Examples:
        paasbus publish jobs:done 'job 17'
        paasbus publish --expect 1 images - < picture.png
        paasbus publish --keep JOB:42:report '{"state":"done"}'
      """
  )

  @Option(help: "Exit with 1 if fewer subscribers than this get the message")
  var expect: Int?

  @Flag(help: "Also keep it for users of the relay, for 10 minutes")
  var keep = false

  @Flag(help: "Print the number as a JSON object")
  var json = false

  @Argument(help: "Channel")
  var channel: String

  @Argument(help: "Message, or '-' for standard input")
  var message: String?

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    if let expect, expect < 0 { throw ValidationError("--expect must not be negative") }
    if channel.isEmpty { throw ValidationError("the channel is empty") }
  }

  var run: CommandRun { .onConnectionThread { try await publish() } }

  private func publish() async throws {
    let payload = try payload()
    let setup = Setup(connection, timeout: limit.duration)
    let connector = try await setup.connector()
    let count = try await keep ? keep(payload, setup, connector) : publish(payload, connector)
    try StandardStreams.write(json ? line(count) : Array("\(count)\n".utf8))
    guard let expect, count < expect else { return }
    throw Failure(
      .failed, "\(count) of \(expect) subscribers got the message",
      remedy: "check that they run, and listen to \(Echo.shown(channel)) on this Redis")
  }

  private func publish(_ payload: [UInt8], _ connector: RedisConnector) async throws -> Int64 {
    let reply = try await connector.withConnection { connection in
      try await connection.send(
        RedisCommand(arguments: [Array("PUBLISH".utf8), Array(channel.utf8), payload]))
    }
    guard let count = reply.integer else { throw RedisError(.unexpectedReply(to: "PUBLISH")) }
    return count
  }

  private func keep(
    _ payload: [UInt8], _ setup: Setup, _ connector: RedisConnector
  ) async throws -> Int64 {
    let keeping = RelayKeeping(app: setup.app ?? Keys.defaultApp)
    do {
      return try await connector.routed(to: keeping.key).withConnection {
        try await keeping.publish(payload, on: channel, by: $0)
      }
    } catch RelayKeeping.Fault.tooLarge(let limit) {
      throw Failure(
        .usage, "the message is larger than \(limit / 1024) KiB, the limit of --keep",
        remedy: "send less, or leave --keep out")
    } catch RelayKeeping.Fault.otherChannel {
      throw Failure(
        .usage, "the relay does not listen to \(Echo.shown(channel))",
        remedy: "publish on a channel like JOB:USER:JOB, or leave --keep out")
    }
  }

  private func line(_ count: Int64) -> [UInt8] {
    var text = JSONText()
    text.always("channel", channel)
    text.member("subscribers", count)
    return text.line
  }

  private func payload() throws -> [UInt8] {
    guard let message, message != "-" else { return try StandardStreams.readAll() }
    return Array(message.utf8)
  }
}
