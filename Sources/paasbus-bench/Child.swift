import Foundation

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
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) }
    let vector = words.map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    defer { for copy in vector + variables { free(copy) } }
    begun = .now
    var child = pid_t()
    let failure = posix_spawnp(&child, words[0], &actions, nil, vector, variables)
    guard failure == 0 else { throw POSIXError(POSIXErrorCode(rawValue: failure) ?? .EIO) }
    id = child
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

  /// The most memory that it has had, in MB; nil once it has ended. What `wait4` tells would be ours,
  /// whose memory it shared at first.
  var peakMemory: Double? {
    let text = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }
      .map { $0 / 1024 }
  }

  /// Runs it to its end and counts the lines that it prints; ends it after `limit` of them.
  static func lines(
    _ words: [String], environment: [String], limit: Int = .max,
    _ begin: (Child) async throws -> Void = { _ in }
  ) async throws -> (
    usage: Usage, first: ContinuousClock.Instant, last: ContinuousClock.Instant, lines: Int
  ) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw POSIXError(.EMFILE) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let child = try Child(words, environment: environment, output: ends[1])
    close(ends[1])
    try await begin(child)
    var (count, first, last) = (0, ContinuousClock.now, ContinuousClock.now)
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var (peak, reads) = (0.0, 0)
    while count < limit {
      if reads < 64 || reads % 32 == 0, let now = child.peakMemory { peak = max(peak, now) }
      reads += 1
      let got = read(ends[0], &buffer, buffer.count)
      guard got > 0 else { break }
      last = .now
      if count == 0 { first = last }
      buffer.withUnsafeBufferPointer { bytes in
        for index in 0..<got where bytes[index] == 0x0A { count += 1 }
      }
    }
    if let now = child.peakMemory { peak = max(peak, now) }
    child.signal(SIGTERM)
    close(ends[0])
    var usage = child.end()
    usage.peakMemory = peak
    return (usage, first, last, count)
  }
}
