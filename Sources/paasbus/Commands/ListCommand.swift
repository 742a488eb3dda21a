import ArgumentParser
import PaasbusRedis
import Presence
import Terminal
import Views

struct ListCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "list", _superCommandName: "paasbus",
    abstract: "List the instances that are present",
    discussion: """
      With --state lost or --state stopped, list the instances that ended within the last hour.

      Examples:
        paasbus list
        paasbus list --state lost --json
      """
  )

  @Flag(help: "Print one JSON object per line")
  var json = false

  @Option(help: ArgumentHelp("Show only instances whose name matches", valueName: "glob"))
  var name: String?

  @Option(help: "Show only instances in this state")
  var state: InstanceStatus.State?

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  var run: CommandRun { .onConnectionThread { try await list() } }

  private func list() async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let connector = try await setup.connector()
    let snapshot = try await snapshot(setup, connector)
    let filter = ListFilter(state: state, name: name)
    let instances = snapshot?.instances ?? []
    if json {
      try writeJSON(instances, filter)
    } else {
      let typography = Typography.of(
        descriptor: 1, color: connection.color, environment: setup.environment)
      let table = InstanceTable(
        instances: instances.filter(filter.passes), now: snapshot?.now ?? 0, typography: typography,
        isFiltered: !filter.isOpen)
      try StandardStreams.write(table.lines)
    }
  }

  /// Writes one JSON object per line, in pieces, so that not everything is in memory twice.
  private func writeJSON(_ instances: [InstanceStatus], _ filter: ListFilter) throws {
    var lines: [UInt8] = []
    for status in instances where filter.passes(status) {
      InstanceTable.addLine(status, to: &lines)
      guard lines.count >= Self.pieceSize else { continue }
      try StandardStreams.write(lines)
      lines.removeAll(keepingCapacity: true)
    }
    try StandardStreams.write(lines)
  }

  /// The size of a piece in bytes.
  private static let pieceSize = 65_536

  private func snapshot(_ setup: Setup, _ connector: RedisConnector) async throws -> Snapshot? {
    guard let app = try await setup.readableApp(by: connector) else { return nil }
    let keys = Keys(app: app)
    let snapshot = try await connector.routed(to: keys.bus).withConnection { connection in
      var snapshot = try await Snapshot.read(keys: keys, on: connection)
      let usages = try await InstanceUsage.read(keys: keys, on: connection)
      guard !usages.isEmpty else { return snapshot }
      for index in snapshot.instances.indices {
        snapshot.instances[index].usage = usages[snapshot.instances[index].instance.id]
      }
      return snapshot
    }
    try setup.check(channel: snapshot.channel, of: app)
    return snapshot
  }
}

extension InstanceStatus.State: ExpressibleByArgument {}
