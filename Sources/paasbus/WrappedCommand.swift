import Supervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `announce -- COMMAND`: this process supervises the command and does nothing else. Everything
/// else, even reading the command line, is done by an announcer in a process of its own.
enum WrappedCommand {
  /// Runs the command to its end.
  ///
  /// - Parameters:
  ///   - command: its words, byte for byte.
  ///   - arguments: our own arguments.
  /// - Returns: the exit status.
  static func run(_ command: [[CChar]], _ arguments: [String]) -> Int32 {
    do {
      return try Supervisor.run(command) {
        try plan(arguments)
      } remark: { remark in
        Diagnostics.tell(told(remark))
      } announce: { link in
        WrappedAnnouncer.run(arguments, link)
      }
    } catch Supervisor.Refusal.usage(let status) {
      return status
    } catch Supervisor.Refusal.notStarted(let failure) {
      return Program.report(explanation(failure, of: ProcessTitle.wrappedWords.first ?? ""))
    } catch {
      return Program.report(error)
    }
  }

  /// The plan, read in this process where no announcer can be started to read it.
  private static func plan(_ arguments: [String]) throws -> CommandPlan {
    guard case .ours(let read) = try Program.read(arguments), let command = read as? AnnounceCommand
    else { return CommandPlan() }
    let (setup, instance) = try command.subject()
    return command.plan(setup, instance)
  }

  private static func told(_ remark: Supervisor.Remark) -> Remark {
    switch remark {
    case .unannounced(let number): .noProcess(errno: number)
    case .announcerEnded(let status): .announcerEnded(status)
    case .undelivered: .undeliveredInTime
    }
  }

  private static func explanation(_ failure: StartFailure, of name: String) -> Failure {
    let name = Echo.shown(name)
    switch failure {
    case .notFound:
      return Failure(
        .commandNotFound, "\(name): not found", remedy: "check the name and the PATH")
    case .notExecutable:
      return Failure(
        .commandNotExecutable, "\(name): cannot be executed",
        remedy: "check that it is a program and its permissions (chmod +x)")
    case .failed(let number):
      return Failure(
        .commandNotExecutable, "\(name): cannot be started (\(String(cString: strerror(number))))",
        remedy: "check the limits of this machine")
    }
  }
}
