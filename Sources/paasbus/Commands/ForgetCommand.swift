import ArgumentParser
import PaasbusRedis
import Presence
import Terminal
import Views

struct ForgetCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "forget", _superCommandName: "paasbus",
    abstract: "Remove one instance or the whole bus, after asking",
    discussion: """
      Watchers see the event forgotten. An instance that is still running announces itself again with its \
      next heartbeat.

      Examples:
        paasbus forget 01JDDV3V8Q6W2N4C7T0Z5RKXYB
        paasbus forget --all --yes --app shop
      """
  )

  @Argument(help: ArgumentHelp("ID of the instance, as list shows it", valueName: "id"))
  var id: String?

  @Flag(help: "Remove the whole bus: all instances and the history")
  var all = false

  @Flag(help: "Do not ask")
  var yes = false

  @Flag(help: "Print what was removed as a JSON object")
  var json = false

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  func validate() throws {
    guard (id == nil) == all else {
      throw ValidationError("give the ID of one instance, or --all")
    }
  }

  var run: CommandRun { .onPool { try await remove() } }

  private func remove() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let connector = try await setup.connector()
    guard let app = try await setup.readableApp(by: connector) else {
      throw Failure(
        .failed, "no instance has ever announced itself on this Redis", remedy: "check --url")
    }
    let keys = Keys(app: app)
    let removed = try await connector.routed(to: keys.bus).withConnection { connection in
      let snapshot = try await Snapshot.read(keys: keys, on: connection)
      try setup.check(channel: snapshot.channel, of: app)
      if let id { return try await forget(id, snapshot, keys, on: connection) }
      return try await forgetAll(snapshot, keys, on: connection)
    }
    if all {
      try await connector.routed(to: Keys.apps).withConnection { try await keys.unlist(on: $0) }
    }
    try StandardStreams.write(removed)
  }

  // MARK: One

  private func forget(
    _ id: String, _ snapshot: Snapshot, _ keys: Keys, on connection: RedisConnection
  ) async throws -> [UInt8] {
    guard let status = snapshot.instances.first(where: { $0.instance.id == id }) else {
      let namesake = snapshot.instances.first { $0.instance.name == id }
      throw Failure(
        .failed, "no instance \(id) is on the bus \(keys.app)",
        remedy: namesake.map { "the ID of \($0.instance.name) is \($0.instance.id)" }
          ?? "see 'paasbus list', or 'paasbus list --state lost'")
    }
    let name = Visible.text(status.instance.name)
    let warning = status.state == .up ? ", which is up and will announce itself again" : ""
    try confirm("Forget \(name) (\(id))\(warning)?")
    guard try await Transitions(keys: keys).forget(id, on: connection) else {
      throw Failure(.failed, "\(id) is already gone", remedy: "there is nothing left to do")
    }
    guard json else { return Array("forgot \(name) (\(id)), which was \(status.state)\n".utf8) }
    var text = JSONText()
    status.addMembers(to: &text)
    return text.line
  }

  // MARK: All

  private func forgetAll(
    _ snapshot: Snapshot, _ keys: Keys, on connection: RedisConnection
  ) async throws -> [UInt8] {
    let present = snapshot.instances.filter(\.isPresent).count
    let content =
      "\(count(present, "instance")) present, \(snapshot.instances.count - present) ended, "
      + count(snapshot.position?.seq ?? 0, "event")
    try confirm("Remove the whole bus \(keys.app) (\(content))?")
    try await keys.remove(on: connection)
    guard json else { return Array("removed the bus \(keys.app): \(content)\n".utf8) }
    var text = JSONText()
    text.member("app", keys.app)
    text.member("present", Int64(present))
    text.member("ended", Int64(snapshot.instances.count - present))
    text.member("events", snapshot.position?.seq ?? 0)
    return text.line
  }

  private func confirm(_ question: String) throws {
    if !yes { try Confirmation.ask(question, for: "forget", otherwise: "nothing was removed") }
  }
}
