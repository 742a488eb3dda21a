import Presence
import Supervisor

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A shell command that is run for an event: with the event's JSON on its standard input, its members
/// in `PAASBUS_EVENT_…`, and its output on our standard error.
struct EventHandler: Sendable {
  /// How long a command that has to end gets for it.
  private static let grace = Duration.seconds(2)
  private static let prefix = "PAASBUS_EVENT_"

  let command: String
  let limit: Duration
  /// Where its output goes.
  let output: CInt

  /// Runs it to its end.
  ///
  /// - Returns: what went wrong, in words; nil for nothing.
  func run(_ event: Event) async -> String? {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else {
      return "could not be started (\(String(cString: strerror(errno))))"
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let helper: HelperProcess
    do {
      defer { close(ends[0]) }
      helper = try HelperProcess.start(
        "/bin/sh", ["sh", "-c", command], environment: Self.variables(event),
        streams: .init(input: ends[0], output: output, error: output))
    } catch {
      close(ends[1])
      return "could not be started (\(error.description))"
    }
    // An event is smaller than what a pipe holds, so this waits for nobody; and who does not read
    // it makes no trouble.
    try? StandardStreams.write(event.line(), to: ends[1])
    close(ends[1])
    let (status, inTime) = await helper.end(within: limit, grace: Self.grace)
    guard inTime else { return "took longer than \(Span(milliseconds: limit.milliseconds))" }
    switch status {
    case .exited(0): return nil
    case .exited(let code): return "failed with exit code \(code)"
    case .signalled: return "was ended by \(status.signalName ?? "a signal")"
    }
  }

  /// Our environment with the members of the event; of another event's, nothing is left.
  private static func variables(_ event: Event) -> [String] {
    let inherited = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix(prefix) }
    let instance = event.instance
    let members: [(String, String?)] = [
      ("TYPE", event.type.rawValue), ("SEQ", "\(event.position.seq)"),
      ("EPOCH", "\(event.position.epoch)"), ("AT", "\(event.at)"), ("APP", instance.app),
      ("ID", instance.id), ("NAME", instance.name), ("PROCESS", instance.process),
      ("HOST", instance.host), ("PID", instance.pid.map(String.init)),
      ("PLATFORM", instance.platform), ("RELEASE", instance.release),
      ("COMMIT", instance.commit), ("REGION", instance.region),
      ("STARTED", instance.started.map(String.init)), ("REASON", event.reason),
      ("EXIT", event.exit.map(String.init)), ("SIGNAL", event.signal),
      ("EXPIRED", event.expired.map(String.init)),
    ]
    return inherited.map { "\($0.key)=\($0.value)" }
      + members.compactMap { name, value in
        value.map { "\(prefix)\(name)=\($0.replacing("\0", with: ""))" }
      }
  }
}
