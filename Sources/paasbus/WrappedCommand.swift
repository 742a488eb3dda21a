import Presence
import Supervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `announce -- COMMAND`: the command is started first, and whatever becomes of Redis, its running
/// and its exit status are its own.
struct WrappedCommand {
  private enum News: Sendable {
    case draining(reason: String)
    case ended(CommandStatus)
  }

  private let announcement: Announcement
  private let arguments: [[CChar]]
  private let name: String
  private let options: SupervisedCommand.Options
  private var diagnostics: Diagnostics { announcement.setup.diagnostics }

  init(_ command: AnnounceCommand, _ announcement: Announcement) {
    self.announcement = announcement
    arguments = ProcessTitle.wrappedCommand ?? []
    let words = arguments.map {
      String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    name = words.first ?? ""
    var options = SupervisedCommand.Options()
    options.leadsGroup = command.group
    options.forwards = !command.noForward
    options.platformSignalsAll = announcement.setup.identity.signalsEveryProcess
    self.options = options
    if let shell = ShellWithoutExec(words) {
      diagnostics.detail(
        "\(shell.name) may not pass signals on to what it runs: write exec in front of that")
    }
  }

  /// Runs the command to its end.
  ///
  /// - Returns: never, once it has started: the process exits as the command did.
  /// - Throws: ``Failure`` with 126 or 127 where it cannot be started.
  func run() throws -> Int32 {
    var command = try start()
    let (news, teller) = AsyncStream<News>.makeStream()
    Task(executorPreference: Announcement.thread) {
      let status = await announce(news)
      exit(status.shellStatus)
    }
    let status = command.supervise { teller.yield(.draining(reason: $0)) }
    teller.yield(.ended(status))
    // Should the announcing itself hang, as in a start of the local bus, or its thread in a write: so
    // not on that one.
    let patience = announcement.options.stopTimeout
    Task {
      try? await Task.sleep(for: patience)
      diagnostics.note(
        "the stop could not be delivered in time, if anything was announced: the lease tells")
      exit(status.shellStatus)
    }
    command.reapForEver()
  }

  private func start() throws -> SupervisedCommand {
    let instance = announcement.instance
    let variables = [
      (name: "PAASBUS_INSTANCE_ID", value: instance.id),
      (name: "PAASBUS_INSTANCE_NAME", value: instance.name),
    ]
    do {
      return try SupervisedCommand.start(arguments, adding: variables, options: options)
    } catch .notFound {
      throw Failure(.commandNotFound, "\(name): not found", remedy: "check the name and the PATH")
    } catch .notExecutable {
      throw Failure(
        .commandNotExecutable, "\(name): cannot be executed",
        remedy: "check that it is a program and its permissions (chmod +x)")
    } catch .failed(let number) {
      throw Failure(
        .commandNotExecutable, "\(name): cannot be started (\(String(cString: strerror(number))))",
        remedy: "check the limits of this machine")
    }
  }

  // MARK: Beside the command

  /// Announces the command until it has ended and that is told; returns how it ended.
  private func announce(_ news: AsyncStream<News>) async -> CommandStatus {
    let announcer: Announcer
    do {
      var copy = announcement
      copy.options.failsWhenRefused = false
      copy.options.tellsShortRuns = true
      // A little less than we have, so that its outcome can still be said.
      copy.options.stopTimeout -= min(.milliseconds(500), copy.options.stopTimeout * 0.2)
      announcer = try await copy.announcer()
    } catch {
      let failure = Failure(error)
      Diagnostics.error("not announced: \(failure.problem): \(failure.remedy)")
      return await tell(nil, news)
    }
    async let status = tell(announcer, news)
    switch try? await announcer.run() {
    case .undelivered(let error):
      diagnostics.note(
        "the stop could not be delivered (\(error.problem)): the lease tells the others")
    case .unanswered: diagnostics.note("not announced: Redis did not answer in time")
    case .stopped, .neverAnnounced, nil: break
    }
    return await status
  }

  /// Tells what becomes of the command, until it has ended.
  private func tell(_ announcer: Announcer?, _ news: AsyncStream<News>) async -> CommandStatus {
    var reason: String?
    for await item in news {
      switch item {
      case .draining(let signal):
        reason = signal
        announcer?.drain(reason: signal)
      case .ended(let status):
        announcer?.stop(
          Announcer.Stop(
            reason: reason ?? status.reason, exit: status.shellStatus, signal: status.signalName))
        return status
      }
    }
    return .exited(ExitStatus.software.rawValue)
  }
}

extension CommandStatus {
  /// How a command went that nobody had asked to.
  fileprivate var reason: String { signalName == nil ? "exit" : "signal" }
}

/// A shell that runs a script from its command line in which nothing is executed in its place.
private struct ShellWithoutExec {
  let name: String

  init?(_ command: [String]) {
    let name = command.first?.split(separator: "/").last.map(String.init) ?? ""
    guard ["sh", "ash", "bash", "dash", "ksh", "zsh"].contains(name),
      let flag = command.firstIndex(where: { $0.hasPrefix("-") && $0.hasSuffix("c") }),
      let script = command.dropFirst(flag + 1).first,
      !script.split(whereSeparator: \.isWhitespace).contains("exec")
    else { return nil }
    self.name = name
  }
}
