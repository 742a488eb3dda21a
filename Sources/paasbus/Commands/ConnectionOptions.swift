import ArgumentParser
import Terminal

/// The options of all commands that talk to Redis, except for the time limit.
struct ServerOptions: ParsableArguments {
  @Option(
    help:
      "Redis URL: redis://, rediss:// or unix:// (default: PAASBUS_URL, or the provider's variable)"
  )
  var url: String?

  @Option(help: "App whose bus to use (default: PAASBUS_APP, or the platform's name of the app)")
  var app: String?

  @Option(help: "Pub/Sub channel of the bus (default: PAASBUS_CHANNEL, or instances)")
  var channel: String?

  @Option(
    name: .customLong("tls-ca"),
    help: ArgumentHelp(
      "Also trust the certificate authorities in this PEM file (default: PAASBUS_TLS_CA)",
      valueName: "file"),
    completion: .file())
  var tlsAuthority: String?

  @Option(
    name: .customLong("tls-cert"),
    help: ArgumentHelp("Present the certificate in this PEM file", valueName: "file"),
    completion: .file())
  var tlsCertificate: String?

  @Option(
    name: .customLong("tls-key"),
    help: ArgumentHelp("Use the private key in this PEM file", valueName: "file"),
    completion: .file())
  var tlsKey: String?

  @Flag(help: "Do not check the server's certificate (also: PAASBUS_TLS_INSECURE=1)")
  var tlsInsecure = false

  @Flag(name: .shortAndLong, help: "Print more on stderr")
  var verbose = false

  @Flag(name: .shortAndLong, help: "Print only errors on stderr")
  var quiet = false

  @Option(help: "Use colour")
  var color = ColorChoice.auto

  var diagnostics: Diagnostics { Diagnostics(isQuiet: quiet, isVerbose: verbose) }

  func validate() throws {
    if let channel, channel.isEmpty || channel.utf8.count > 512 {
      throw ValidationError("--channel must have 1 to 512 bytes")
    }
    if let app, app.isEmpty { throw ValidationError("--app must not be empty") }
    for (option, value) in [("--app", app), ("--channel", channel)] {
      try Echo.refuseSecret(value, in: option)
    }
  }
}

/// The options of a command that talks to Redis.
struct ConnectionOptions: ParsableArguments {
  static let usualTimeout = Duration.seconds(5)

  @OptionGroup(title: "Connection") var server: ServerOptions

  @Option(
    help: ArgumentHelp("Time limit for connecting and for each answer", valueName: "duration"))
  var timeout = DurationArgument(ConnectionOptions.usualTimeout)

  func validate() throws {
    guard timeout.duration > .zero else {
      throw ValidationError("--timeout must be greater than 0")
    }
  }
}

extension ColorChoice: ExpressibleByArgument {
  /// Written by hand, since with an automatic list of all cases the parser would search all types
  /// at every start.
  public static var allValueStrings: [String] { [Self.auto, always, never].map(\.rawValue) }
  public static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}
