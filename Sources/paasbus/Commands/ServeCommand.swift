import ArgumentParser
import Gateway
import Presence
import Terminal

struct ServeCommand: PaasbusSubcommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", _superCommandName: "paasbus",
    abstract: "Show the instances on a web page that stays up to date, and as JSON and metrics",
    discussion: """
      The page is at http://127.0.0.1:8080/ unless PORT, --listen or --socket says otherwise. An \
      address that others can reach needs a password in PAASBUS_PANEL_PASSWORD.

      Examples:
        paasbus serve
        paasbus serve --listen 127.0.0.1:9000 --app shop
      """
  )

  @Option(
    help: ArgumentHelp(
      "Listen at this address (default: 127.0.0.1:8080, or all addresses at PORT)",
      valueName: "host:port"))
  var listen: String?

  @Option(
    help: ArgumentHelp("Listen at this Unix socket", valueName: "path"), completion: .file())
  var socket: String?

  @Option(
    help: ArgumentHelp(
      "Serve below this path, which a proxy may pass on or take off", valueName: "path"))
  var basePath: String?

  @Option(
    help: ArgumentHelp(
      "Answer requests for this host name only; repeatable", valueName: "name"))
  var host: [String] = []

  @Flag(help: "Ask for no password, because a proxy in front does")
  var noLogin = false

  @Flag(help: "Serve only health checks, metrics and the relay")
  var noPanel = false

  @Flag(help: "Serve /metrics without the password")
  var openMetrics = false

  @Flag(help: "Add the memory of each instance to /metrics, with its name and ID as labels")
  var instanceMetrics = false

  @OptionGroup(title: "Relay") var relay: RelayOptions

  @OptionGroup(title: "Relay") var sessions: SessionOptions

  @OptionGroup(title: "Relay") var secrets: SessionSecretOptions

  @OptionGroup(title: "Connection") var connection: ConnectionOptions

  @OptionGroup(title: "Connection") var limit: TimeLimitOptions

  /// The form of the workers' channels, where `--channel` gives it instead of the bus's channel.
  var relayChannel: String? {
    guard relay.relay, let channel = connection.channel, channel.contains("{") else {
      return nil
    }
    return channel
  }

  func validate() throws {
    if listen != nil, socket != nil {
      throw ValidationError("--listen and --socket cannot be used together")
    }
    if let listen, HostAndPort(listen) == nil {
      throw ValidationError("--listen must be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    }
    if let basePath, BasePath(basePath) == nil {
      throw ValidationError("--base-path must be a path without '..', for example /ops")
    }
    if host.contains(where: { Access.hostName($0) == nil }) {
      throw ValidationError("--host must be the name of a host, for example ops.example.com")
    }
  }

  var run: CommandRun { .serving { try await serve(until: $0) } }

  private func serve(until signals: AsyncStream<String>) async throws {
    let setup = Setup(connection, timeout: limit.duration)
    let serving = try ServingAddress(self, setup)
    let connector = try await setup.connector()
    let app = try await setup.readableApp(by: connector)
    ServingAddress.raiseDescriptorLimit()
    let gateway: Gateway
    do {
      gateway = try Gateway(
        .init(
          address: serving.address, access: serving.access, showsPanel: !noPanel,
          version: Version.text, namesInstances: instanceMetrics,
          relay: relayConfiguration(setup, connector)),
        connector: connector, app: app, channel: relayChannel == nil ? setup.channel : nil
      ) { setup.diagnostics.report($0, connector.endpoint) }
    } catch let fault as RelayChannelFault {
      throw Failure(fault)
    }
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await gateway.run { setup.diagnostics.note(serving.remark(port: $0)) } }
        group.addTask {
          for await signal in signals {
            guard relay.relay, signal == "SIGHUP" else { return }
            renewSecrets(of: gateway, setup)
          }
        }
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch let error as ListenError {
      throw serving.failure(error)
    } catch let fault as RelayFault {
      throw Failure(fault)
    }
  }

  /// Reads the secrets again; where that is not possible, the ones before stay.
  private func renewSecrets(of gateway: Gateway, _ setup: Setup) {
    do {
      gateway.renew(try .configured(secrets, setup))
      setup.diagnostics.note(.secretsRenewed)
    } catch {
      setup.diagnostics.note(.secretsNotRenewed(Failure(error)))
    }
  }
}

/// `HOST:PORT`, with an IPv6 address in brackets.
struct HostAndPort {
  var host: String
  var port: Int

  init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"),
      let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port)
    else { return nil }
    var host = text[..<colon]
    if host.first == "[", host.last == "]" {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty else { return nil }
    (self.host, self.port) = (String(host), port)
  }
}

/// A path that begins with a slash, without the one at its end; empty for the slash alone.
struct BasePath {
  var path: String

  init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count > 1, parts.first?.isEmpty == true else { return nil }
    var names = parts.dropFirst()
    if names.last?.isEmpty == true { names.removeLast() }
    for name in names {
      let isPlain = name.unicodeScalars.allSatisfy {
        $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0))
          || "-._~".unicodeScalars.contains($0)
      }
      guard isPlain, !name.isEmpty, name != ".", name != ".." else { return nil }
    }
    path = names.map { "/\($0)" }.joined()
  }
}
