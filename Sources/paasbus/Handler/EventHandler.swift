@preconcurrency import Dispatch
import Presence
import Supervisor
import Terminal
import Views

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
  /// How long a command may take to end once it is told to.
  private static let grace = Duration.seconds(2)
  private static let prefix = "PAASBUS_EVENT_"

  let command: String
  let limit: Duration
  /// Where its output goes.
  let output: CInt
  /// Our environment, without the members of another event.
  private let inherited: [String]

  init(command: String, limit: Duration, output: CInt) {
    (self.command, self.limit, self.output) = (command, limit, output)
    inherited = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix(Self.prefix) }
      .map { "\($0.key)=\($0.value)" }
  }

  /// Runs it to its end.
  ///
  /// - Returns: what went wrong, in words; nil for success.
  func run(_ event: Event) async -> String? {
    guard let pipe = HelperProcess.Pipe() else {
      return "could not be started (\(String(cString: strerror(errno))))"
    }
    let helper: HelperProcess
    do {
      defer { close(pipe.reading) }
      helper = try HelperProcess.start(
        "/bin/sh", ["sh", "-c", command], environment: inherited + Self.variables(event),
        streams: .init(input: pipe.reading, output: output, error: output))
    } catch {
      close(pipe.writing)
      return "could not be started (\(error.description))"
    }
    var line: [UInt8] = []
    event.addLine(to: &line)
    Self.feed(line, to: pipe.writing)
    let (status, inTime) = await helper.end(within: limit, grace: Self.grace)
    // What ends well although it was told to end has handled the event.
    if case .exited(0) = status, Task.isCancelled { return nil }
    guard inTime else { return "took longer than \(Span(milliseconds: limit.milliseconds))" }
    switch status {
    case .exited(0): return nil
    case .exited(let code): return "failed with exit code \(code)"
    case .signalled: return "was ended by \(status.signalName ?? "a signal")"
    }
  }

  /// Writes to a pipe and closes it. A command that does not read the event causes no error.
  private static func feed(_ line: [UInt8], to descriptor: CInt) {
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    let count = max(0, write(descriptor, line, line.count))
    guard count < line.count else {
      close(descriptor)
      return
    }
    // A pipe holds more than an event, unless this user has very many pipes.
    DispatchQueue.global().async {
      var rest = line[count...]
      var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      while !rest.isEmpty, poll(&state, 1, 60_000) > 0 {
        let more = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard more > 0 || errno == EAGAIN || errno == EINTR else { break }
        rest = rest.dropFirst(max(0, more))
      }
      close(descriptor)
    }
  }

  /// The members of the event that are known.
  private static func variables(_ event: Event) -> [String] {
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
    return members.compactMap { name, value in
      value.map { "\(prefix)\(name)=\($0.replacing("\0", with: ""))" }
    }
  }
}
