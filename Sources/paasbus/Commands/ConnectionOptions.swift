import ArgumentParser
import Terminal

/// The options of all commands that talk to Redis, but for how patient they are.
struct ServerOptions: ParsableArguments {
  @Option(help: "Where Redis is (redis://, rediss://, unix://).")
  var url: String?

  @Option(help: "The app whose bus it is.")
  var app: String?

  @Option(help: "The Pub/Sub channel of the bus.")
  var channel: String?

  @Option(
    name: .customLong("tls-ca"), help: "A PEM file with an authority to trust.",
    completion: .file())
  var tlsAuthority: String?

  @Option(
    name: .customLong("tls-cert"), help: "A PEM file with the certificate to present.",
    completion: .file())
  var tlsCertificate: String?

  @Option(
    name: .customLong("tls-key"), help: "A PEM file with its private key.",
    completion: .file())
  var tlsKey: String?

  @Flag(help: "Do not check the server's certificate.")
  var tlsInsecure = false

  @Flag(name: .shortAndLong, help: "Say more on stderr.")
  var verbose = false

  @Flag(name: .shortAndLong, help: "Say nothing on stderr but errors.")
  var quiet = false

  @Option(help: "When to use colour: auto, always or never.")
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
    help: ArgumentHelp("How long a connection and an answer may take.", valueName: "duration"))
  var timeout = DurationArgument(ConnectionOptions.usualTimeout)

  func validate() throws {
    guard timeout.duration > .zero else {
      throw ValidationError("--timeout must be longer than nothing")
    }
  }
}

extension ColorChoice: ExpressibleByArgument {
  /// By hand, since a list of all cases would have the parser search all types at every start.
  public static var allValueStrings: [String] { [Self.auto, always, never].map(\.rawValue) }
  public static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}
