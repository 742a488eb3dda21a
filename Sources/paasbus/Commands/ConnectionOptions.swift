import ArgumentParser
import Terminal

/// The options of all commands that talk to Redis.
struct ConnectionOptions: ParsableArguments {
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

  @Option(
    name: .customLong("color"),
    help: ArgumentHelp(
      "Use colour (values: auto, always, never; default: auto)", valueName: "color"),
    completion: .list(ColorChoice.words))
  var colorText: String?

  var color: ColorChoice { colorText.flatMap(ColorChoice.init) ?? .auto }

  var diagnostics: Diagnostics { Diagnostics(isQuiet: quiet, isVerbose: verbose) }

  func validate() throws {
    if let channel, channel.isEmpty || channel.utf8.count > 512 {
      throw ValidationError("--channel must have 1 to 512 bytes")
    }
    if let colorText, ColorChoice(rawValue: colorText) == nil {
      throw TypedText.invalid(
        colorText, "--color <color>", ". Please provide one of 'auto', 'always' or 'never'.")
    }
    if let app, app.isEmpty { throw ValidationError("--app must not be empty") }
    for (option, value) in [("--app", app), ("--channel", channel)] {
      try Echo.refuseSecret(value, in: option)
    }
  }
}

/// The time limit of commands that talk to Redis. `wait` has another one, so this is a group of its own.
///
/// No group of options contains another: a debug build checks each group several times for each check of the group
/// around it.
struct TimeLimitOptions: ParsableArguments {
  static let usual = Duration.seconds(5)

  @Option(
    name: .customLong("timeout"),
    help: ArgumentHelp(
      "Time limit for connecting and for each answer (default: 5s)", valueName: "duration"))
  var timeoutText: String?

  var duration: Duration { TypedText.duration(timeoutText)?.duration ?? Self.usual }

  func validate() throws {
    try TypedText.checkDuration(timeoutText, "--timeout")
    guard duration > .zero else {
      throw ValidationError("--timeout must be greater than 0")
    }
  }
}

/// Options of commands that must start quickly are texts, as each further type of option makes every start slower: the
/// parser and the runtime look through all types of the program for it. These read such texts, and complain as the
/// parser does.
enum TypedText {
  static func invalid(_ text: String, _ option: String, _ more: String = "") -> ValidationError {
    ValidationError("The value '\(text)' is invalid for '\(option)'\(more)")
  }

  static func duration(_ text: String?) -> DurationArgument? {
    text.flatMap(DurationArgument.init(argument:))
  }

  /// - Throws: `ValidationError` for a text that is no duration.
  static func checkDuration(_ text: String?, _ option: String) throws {
    if let text, duration(text) == nil { throw invalid(text, "\(option) <duration>") }
  }

  /// - Throws: `ValidationError` for a text that is no whole number.
  static func checkNumber(_ text: String?, _ option: String) throws {
    if let text, Int(text) == nil { throw invalid(text, option) }
  }
}

extension ColorChoice {
  static let words = [Self.auto, always, never].map(\.rawValue)
}

// The parser finds the options of a command by reflection. The runtime's own way takes 8 % of the start of an announcer,
// so its options are listed. The parser refuses a command of which one is not.
extension Mirror {
  static func ofOptions(_ subject: some Any, _ options: [Child]) -> Mirror {
    Mirror(subject, children: options, displayStyle: .struct)
  }
}

extension ConnectionOptions: CustomReflectable {
  var customMirror: Mirror {
    .ofOptions(
      self,
      [
        ("_url", _url), ("_app", _app), ("_channel", _channel),
        ("_tlsAuthority", _tlsAuthority), ("_tlsCertificate", _tlsCertificate),
        ("_tlsKey", _tlsKey), ("_tlsInsecure", _tlsInsecure), ("_verbose", _verbose),
        ("_quiet", _quiet), ("_colorText", _colorText),
      ])
  }
}

extension TimeLimitOptions: CustomReflectable {
  var customMirror: Mirror {
    .ofOptions(self, [("_timeoutText", _timeoutText)])
  }
}
