import ArgumentParser
import CStart
import PaasbusRedis
import Terminal

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

struct PaasbusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "paasbus",
    abstract: "Show which instances of an app join and leave, over any Redis",
    discussion: """
      Examples, in two terminals:
        paasbus watch
        paasbus announce --name web.1

      paasbus finds Redis by --url, PAASBUS_URL, or the variable of your provider, such as \
      REDISTOGO_URL, REDISCLOUD_URL or REDIS_URL. Without any, it uses a private local bus.
      """,
    version: Version.text,
    subcommands: ours + [SessionsCommand.self, LocalCommand.self]
  )

  /// Those that have no commands below them.
  static let ours: [any PaasbusSubcommand.Type] = [
    AnnounceCommand.self, WatchCommand.self, ListCommand.self, HistoryCommand.self,
    TopCommand.self, WaitCommand.self, ForgetCommand.self, PublishCommand.self,
    SubscribeCommand.self, DoctorCommand.self, ServeCommand.self, VersionCommand.self,
  ]
}

/// The way in. The main thread waits here until the command's task has ended: it must not end
/// itself, since what it started would take that for our death.
@main
enum Program {
  static func main() {
    cstart_restore_environment()
    StandardStreams.ensureOpen()
    let arguments = ProcessTitle.readArguments()
    signal(SIGPIPE, SIG_IGN)
    if let command = ProcessTitle.wrappedCommand, let program = command.first, program != [0] {
      exit(WrappedCommand.run(command, arguments))
    }
    exit(run(arguments))
  }

  static func run(_ arguments: [String]) -> Int32 {
    do {
      guard !arguments.isEmpty else {
        try StandardStreams.write(Array(FirstSteps.text.utf8))
        return ExitStatus.done.rawValue
      }
      switch try read(arguments) {
      case .ours(let command): return try perform(command.run)
      case .parsers(var command):
        try command.run()
        return ExitStatus.done.rawValue
      }
    } catch {
      return report(error)
    }
  }

  private static func perform(_ run: CommandRun) throws -> Int32 {
    switch run {
    case .onMainThread(let body): return try body()
    case .untilSignalled(let isDrawing, let body):
      untilSignalled(isDrawing: isDrawing) { try await body($0) }
    case .serving(let isDrawing, let body):
      untilSignalled(isDrawing: isDrawing, on: { ConnectionThread.shared.executor }, body)
    case .following(let isDrawing, let body):
      untilSignalled(
        isDrawing: isDrawing, orUnread: STDOUT_FILENO, usesPool: true,
        on: { ConnectionThread.shared.relievedExecutor },
        { try await cancel(body, at: $0) })
    case .onConnectionThread(let body): start(on: { ConnectionThread.shared.executor }, body)
    case .onPool(let body): start(body)
    }
    while true { pause() }
  }

  /// What was asked for on the command line.
  enum Command {
    case ours(any PaasbusSubcommand)
    /// The parser's own: help, a version, completions.
    case parsers(any ParsableCommand)
  }

  /// Reads the command line.
  ///
  /// - Throws: what the parser does, ``Failure`` for a word that is no command.
  static func read(_ arguments: [String]) throws -> Command {
    guard !ProcessTitle.holdsOtherEncoding else {
      throw Failure(
        .usage, "an argument is not UTF-8",
        remedy: "encode it as UTF-8"
          + (arguments.first == "publish"
            ? ", or give the message on standard input ('paasbus publish CHANNEL -')" : ""))
    }
    let arguments = SessionsCommand.arranged(arguments)
    // A command that is named first is read by itself, as then the parser looks at no other, which takes half
    // the time. Whatever is not just its options, the whole tree of commands deals with.
    let named = PaasbusCommand.ours.first { $0.configuration.commandName == arguments.first }
    try checkCommand(arguments, isKnown: named != nil)
    if let command = named?.read(Array(arguments.dropFirst())) { return .ours(command) }
    let command = try PaasbusCommand.parseAsRoot(arguments)
    return (command as? any PaasbusSubcommand).map(Command.ours) ?? .parsers(command)
  }

  /// Runs what decides itself what a signal means; from here on the main thread only waits for
  /// signals.
  ///
  /// - Parameters:
  ///   - isDrawing: whether it may draw on the terminal.
  ///   - output: a descriptor whose reader's end counts as SIGPIPE.
  ///   - usesPool: whether it also uses the pool of threads where it runs elsewhere.
  ///   - executor: where it runs; nil for the pool of threads. No thread may be made before the
  ///     signals are blocked, or it would take them, so it is asked for afterwards.
  static func untilSignalled(
    isDrawing: Bool = false, orUnread output: CInt? = nil, usesPool: Bool = false,
    on executor: (() -> any TaskExecutor)? = nil,
    _ body: sending @escaping (AsyncStream<String>) async throws -> Void
  ) -> Never {
    var termination = TerminationSignals.block(isDrawing: isDrawing, orUnread: output)
    let (signals, continuation) = AsyncStream<String>.makeStream()
    start(on: executor, usesPool: usesPool) { try await body(signals) }
    while true {
      continuation.yield(termination.next())
      // Who does not read our output does not keep us from ending.
      StandardStreams.giveUp()
    }
  }

  /// Runs `body` until it ends, or cancels it at the first signal.
  private static func cancel(
    _ body: @escaping @Sendable () async throws -> Void, at signals: AsyncStream<String>
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await body() }
      group.addTask { for await _ in signals { return } }
      try await group.next()
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  static func start(
    on executor: (() -> any TaskExecutor)? = nil, usesPool: Bool = false,
    _ body: sending @escaping () async throws -> Void
  ) {
    do {
      try Threads.check(usesPool: usesPool || executor == nil)
    } catch {
      exit(report(error))
    }
    Task(executorPreference: executor?()) {
      do {
        try await body()
        exit(ExitStatus.done.rawValue)
      } catch {
        exit(report(error))
      }
    }
  }

  /// Says what went wrong and returns the exit code. The one place where errors are printed.
  static func report(_ error: any Error) -> Int32 {
    // Asked to end before there was anything to do, or nobody reads any more.
    if error is CancellationError || error is OutputClosed { return ExitStatus.done.rawValue }
    let code = PaasbusCommand.exitCode(for: error)
    let isOurs = error is Failure || !(code == .validationFailure || code == .success)
    if isOurs, !(error is ExitCode) {
      let failure = Failure(error)
      Diagnostics.error("\(failure.problem): \(failure.remedy)")
      return failure.status.rawValue
    }
    if code == .success {
      do {
        let text = HelpText.ordered(PaasbusCommand.fullMessage(for: error))
        try StandardStreams.write(Array((text + "\n").utf8))
      } catch {
        return report(error)
      }
    } else if !(error is ExitCode) {
      let message = PaasbusCommand.message(for: error)
      let told = Echo.problem(in: message, of: ProcessTitle.arguments) ?? oneLine(message)
      let complaint = told + hint(for: message)
      // The parser's own words may end in a question, as ours do: "Did you mean '--json'?"
      Diagnostics.error(
        complaint + (complaint.hasSuffix("?") ? " See " : ": see ") + help(for: error))
    }
    return code.rawValue
  }

  // MARK: What was meant

  /// - Throws: ``Failure`` for a first word that is no command, before its options count as ours.
  private static func checkCommand(_ arguments: [String], isKnown: Bool) throws {
    let words = arguments.first == "help" ? arguments.dropFirst() : arguments[...]
    guard let word = words.first, !word.hasPrefix("-") else { return }
    if word == "announce", let next = words.dropFirst().first, !next.hasPrefix("-") {
      throw Failure(
        .usage, "announce takes no argument \(Echo.of(next))",
        remedy: "put '--' before the command to run")
    }
    guard !isKnown else { return }
    let names = names(of: PaasbusCommand.self)
    guard !names.contains(word), word != "help" else { return }
    let suggestion = Suggestion.nearest(to: word, among: names)
    throw Failure(
      .usage, "\(Echo.of(word)) is not a command",
      remedy: suggestion.map { "did you mean '\($0)'?" } ?? "see 'paasbus --help'")
  }

  private static func names(of command: any ParsableCommand.Type) -> [String] {
    command.configuration.subcommands.map { $0.configuration }.filter(\.shouldDisplay)
      .compactMap(\.commandName)
  }

  /// A message in one line without its full stop, a list in it behind commas.
  private static func oneLine(_ message: String) -> String {
    let text = message.replacing(":\n  - ", with: ": ").replacing("\n  - ", with: ", ")
      .split(whereSeparator: \.isNewline).joined(separator: "; ")
    return text.hasSuffix(".") ? String(text.dropLast()) : text
  }

  /// What more there is to say of what the parser complains about.
  private static func hint(for message: String) -> String {
    if message.contains("<duration>") { return " (write it as 500ms, 15s, 2m, 1h or 3d)" }
    let unexpected = "Unexpected argument '"
    guard message.hasPrefix(unexpected) else { return "" }
    let word = String(message.dropFirst(unexpected.count).prefix { $0 != "'" })
    let command = PaasbusCommand.configuration.subcommands.first {
      $0.configuration.commandName == ProcessTitle.arguments.first
    }
    let suggestion = command.flatMap { Suggestion.nearest(to: word, among: names(of: $0)) }
    return suggestion.map { ". Did you mean '\($0)'?" } ?? ""
  }

  /// The help of the command that was meant, in quotes, as the parser names it.
  private static func help(for error: any Error) -> String {
    let text = PaasbusCommand.fullMessage(for: error)
    let own = "'paasbus --help'"
    guard let end = text.ranges(of: " --help'").last?.upperBound,
      let start = text[..<end].ranges(of: "'paasbus").last?.lowerBound
    else { return own }
    return String(text[start..<end])
  }
}

extension PaasbusSubcommand {
  /// Reads the words behind the command's name; nil where they are not just its own options.
  ///
  /// To ask whether a command is one of ours would search all types that the program has; this compares one.
  fileprivate static func read(_ words: [String]) -> Self? {
    Reading.isAlone.withValue(true) { (try? parseAsRoot(words)) as? Self }
  }
}

/// How the command line is being read.
enum Reading {
  /// Whether only the options of one command are looked for, without help and the like.
  ///
  /// Written without the macro, whose expansion would be named in the debug symbols by a path that depends on where it
  /// is built.
  static let isAlone = TaskLocal(wrappedValue: false)
}
