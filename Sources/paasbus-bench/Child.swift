import Foundation
import Supervisor
import TestSupport

/// A process that is timed: spawned and waited for without anything in between.
final class Child {
  struct Usage {
    /// From its start to its end.
    var time: Duration
    /// Of a processor, in seconds.
    var processor: Double
    /// The most memory that it had, in MB.
    var peakMemory = 0.0
  }

  let id: pid_t
  let begun: ContinuousClock.Instant

  /// - Parameter output: where its output goes; nowhere when nil.
  init(_ words: [String], environment: [String], output: Int32? = nil) throws {
    let nowhere = open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { close(nowhere) }
    begun = .now
    id = try HelperProcess.start(
      words[0], words, environment: environment,
      streams: .init(input: nowhere, output: output ?? nowhere, error: nowhere), leadsGroup: false
    ).id
  }

  /// Whether a peer is there; says so where it is not.
  static func isInstalled(_ peer: String) -> Bool {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    return say(
      peer,
      isThere: path.split(separator: ":").contains {
        FileManager.default.isExecutableFile(atPath: "\($0)/\(peer)")
      })
  }

  /// Whether a module that node finds is there; says so where it is not.
  static func hasNodeModule(_ name: String) -> Bool {
    say("node-\(name)", isThere: ExpressApp.hasModule(name))
  }

  private static func say(_ peer: String, isThere: Bool) -> Bool {
    if !isThere { print("\(peer) is not installed, so it is left away") }
    return isThere
  }

  func signal(_ number: Int32) { kill(id, number) }

  /// Waits for its end.
  @discardableResult
  func end() -> Usage {
    var status: Int32 = 0
    var usage = rusage()
    while wait4(id, &status, 0, &usage) == -1, errno == EINTR { continue }
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return Usage(
      time: .now - begun, processor: seconds(usage.ru_utime) + seconds(usage.ru_stime))
  }

  /// The most memory that a process has had, in MB; 0 once it has ended. What `wait4` tells would be
  /// ours, whose memory it shared at first.
  static func peakMemory(_ id: pid_t) -> Double {
    let text = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    let number = line?.split(whereSeparator: \.isWhitespace).dropFirst().first
    return (number.flatMap { Double($0) } ?? 0) / 1024
  }

  /// Runs it to its end and counts the lines that it prints; ends it after `limit` of them.
  static func lines(
    _ words: [String], environment: [String], limit: Int = .max,
    _ begin: (Child) async throws -> Void = { _ in }
  ) async throws -> (
    usage: Usage, first: ContinuousClock.Instant, last: ContinuousClock.Instant, lines: Int
  ) {
    guard let pipe = HelperProcess.Pipe() else { throw POSIXError(.EMFILE) }
    let child = try Child(words, environment: environment, output: pipe.writing)
    close(pipe.writing)
    try await begin(child)
    // On a thread of its own: it waits, and whatever feeds the child has to go on.
    let (reading, id) = (pipe.reading, child.id)
    let counted = await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(returning: Count(of: reading, until: limit, by: id))
      }
    }
    child.signal(SIGTERM)
    close(reading)
    var usage = child.end()
    usage.peakMemory = counted.peakMemory
    return (usage, counted.first, counted.last, counted.lines)
  }
}

extension Child {
  /// Runs it while `body` does, and tells when it printed each of its first lines.
  static func stamps(
    _ words: [String], environment: [String], lines: Int, _ body: () async throws -> Void
  ) async throws -> [ContinuousClock.Instant] {
    guard let pipe = HelperProcess.Pipe() else { throw POSIXError(.EMFILE) }
    let child = try Child(words, environment: environment, output: pipe.writing)
    close(pipe.writing)
    let reading = pipe.reading
    async let stamps = withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var stamps: [ContinuousClock.Instant] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while stamps.count < lines {
          let got = read(reading, &buffer, buffer.count)
          guard got > 0 else { break }
          let now = ContinuousClock.now
          for byte in buffer[..<got] where byte == 0x0A { stamps.append(now) }
        }
        continuation.resume(returning: stamps)
      }
    }
    do {
      try await body()
    } catch {
      child.signal(SIGKILL)
      _ = await stamps
      child.end()
      throw error
    }
    let result = await stamps
    child.signal(SIGTERM)
    close(reading)
    child.end()
    return result
  }
}

/// The lines that come out of a process.
private struct Count: Sendable {
  var lines = 0
  var first = ContinuousClock.now
  var last = ContinuousClock.now
  /// In MB.
  var peakMemory = 0.0

  init(of descriptor: Int32, until limit: Int, by process: pid_t) {
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var reads = 0
    while lines < limit, Self.hasMore(descriptor) {
      if reads < 64 || reads % 32 == 0 { peakMemory = max(peakMemory, Child.peakMemory(process)) }
      reads += 1
      let got = read(descriptor, &buffer, buffer.count)
      guard got > 0 else { break }
      last = .now
      if lines == 0 { first = last }
      lines += Self.lineEnds(buffer[..<got])
    }
    peakMemory = max(peakMemory, Child.peakMemory(process))
  }

  /// Of this the compiler makes steps of many bytes at a time: whoever counts is not to be what is
  /// measured.
  private static func lineEnds(_ bytes: ArraySlice<UInt8>) -> Int {
    var count = 0
    for byte in bytes { count &+= byte == 0x0A ? 1 : 0 }
    return count
  }

  /// Waits for more; false where nothing comes any more.
  private static func hasMore(_ descriptor: Int32) -> Bool {
    var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&state, 1, 30_000) > 0
  }
}
