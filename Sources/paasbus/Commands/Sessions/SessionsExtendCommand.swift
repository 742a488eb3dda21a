import ArgumentParser
import ExpressSessions
import Presence
import Terminal
import Views

struct SessionsExtendCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "extend",
    abstract: "Set how long a session lasts, from now on and after each of its requests",
    discussion: """
      Sets the time to live in Redis, and originalMaxAge and expires of the session's cookie, so \
      that the app keeps the new time. A store with its own option ttl undoes this at the next \
      request.

      Examples:
        paasbus sessions extend VbH9u_~843cb473 8h
        paasbus sessions extend --prefix shop:sess: VbH9u_~843cb473 30m
      """)

  @Argument(help: "Session: its ID, its short form, or its cookie")
  var session: String

  @Argument(help: "Time that it lasts: 30m, 8h, 7d")
  var duration: DurationArgument

  @Flag(help: "Print the result as a JSON object")
  var json = false

  @OptionGroup var sessions: SessionOptions

  @OptionGroup var secrets: SessionSecretOptions

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    guard duration.duration >= .seconds(1) else {
      throw ValidationError("the duration must be at least 1s; to end a session, use 'end'")
    }
  }

  var run: CommandRun { .onConnectionThread { try await sessions.run(extend) } }

  private func extend() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let finder = SessionFinder(try await sessions.store(setup), setup, secrets)
    let id = try await finder.find(session).id
    let result: SessionStore.Extension
    do {
      result = try await finder.store.extend(id, to: duration.duration)
    } catch let error as SessionError {
      throw Failure(error, id)
    }
    try StandardStreams.write(json ? line(result) : sentence(result))
    setup.diagnostics.note(.extensionMayBeUndone)
  }

  private func sentence(_ result: SessionStore.Extension) -> [UInt8] {
    func text(_ left: Int64?) -> String {
      left.map { "lasts \(Span(milliseconds: $0))" } ?? "does not end"
    }
    let before = result.before.left.map { " (before: \(Span(milliseconds: $0)))" } ?? ""
    return Array("\(Visible.text(result.before.id.short)) \(text(result.left))\(before)\n".utf8)
  }

  private func line(_ result: SessionStore.Extension) -> [UInt8] {
    var text = JSONText()
    text.member("session", result.before.id.short)
    text.member("user", result.before.user?.text)
    text.member("left", result.left)
    text.member("before", result.before.left)
    text.member("maxAge", duration.duration.milliseconds)
    return text.line
  }
}
