import Foundation
import Supervisor
import Synchronization

/// A value behind a lock.
package final class Mutable<Value: Sendable>: Sendable {
  private let value: Mutex<Value>

  package init(_ value: Value) {
    self.value = Mutex(value)
  }

  package func get() -> Value { value.withLock { $0 } }
  package func set(_ new: Value) { value.withLock { $0 = new } }
  package func update(_ change: (inout Value) -> Void) { value.withLock { change(&$0) } }
}

/// A child process whose output is collected as it comes.
///
/// Started as the program starts its helpers: Foundation's `Process` lets children inherit each other's
/// descriptors, so that tests that run side by side wait for each other's children.
package final class ManagedProcess: Sendable {
  private struct State {
    var out: [UInt8] = []
    var error: [UInt8] = []
    /// The objects that have been read from whole lines of `out`, and up to where.
    var objects: [[String: JSONValue]] = []
    var read = 0
    var openStreams = 2
    /// As `waitpid` tells it, once it has ended.
    var status: Int32?
  }

  package let processID: Int32
  private let state = Mutex(State())

  /// - Parameters:
  ///   - program: a path, or a name that is looked for on the PATH.
  ///   - environment: the whole environment; nil for a bare one with a PATH.
  ///   - input: what it gets on stdin; nothing when nil.
  package init(
    _ program: String, _ arguments: [String], environment: [String: String]? = nil,
    input: [UInt8]? = nil
  ) throws {
    let (out, error, stdin) = (try Self.pipe(), try Self.pipe(), try Self.pipe())
    defer { for end in [out.writing, error.writing, stdin.reading] { close(end) } }
    let variables = (environment ?? Self.bareEnvironment).map { "\($0)=\($1)" }
    processID = try Self.gate.withLock { _ in
      try HelperProcess.start(
        program, [program] + arguments, environment: variables,
        streams: .init(input: stdin.reading, output: out.writing, error: error.writing),
        leadsGroup: false, resets: [SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE]
      ).id
    }
    collect(out.reading) { $0.out.append(contentsOf: $1) }
    collect(error.reading) { $0.error.append(contentsOf: $1) }
    Self.feed(input ?? [], into: stdin.writing)
  }

  deinit {
    if isRunning { kill(processID, SIGKILL) }
    waitForEnd()
  }

  /// Held while descriptors that are not yet marked, or children, come into being: a child that is spawned
  /// in between would keep our ends open.
  private static let gate = Mutex(())

  private static func pipe() throws -> HelperProcess.Pipe {
    guard let pipe = gate.withLock({ _ in HelperProcess.Pipe() }) else {
      throw POSIXError(.EMFILE)
    }
    return pipe
  }

  package static var bareEnvironment: [String: String] {
    ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "TZ": "UTC"]
  }

  /// From a thread of its own, as the child may read slowly or not at all.
  private static func feed(_ input: [UInt8], into descriptor: Int32) {
    Foundation.signal(SIGPIPE, SIG_IGN)
    Thread.detachNewThread {
      var rest = input[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { break }
        rest = rest.dropFirst(count)
      }
      close(descriptor)
    }
  }

  private func collect(
    _ descriptor: Int32, _ add: @escaping @Sendable (inout State, ArraySlice<UInt8>) -> Void
  ) {
    Thread.detachNewThread { [weak self] in
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { break }
        self?.state.withLock { add(&$0, buffer[..<count]) }
      }
      close(descriptor)
      self?.state.withLock { $0.openStreams -= 1 }
    }
  }

  package var bytes: [UInt8] { state.withLock { $0.out } }
  package var output: String { state.withLock { String(decoding: $0.out, as: UTF8.self) } }
  package var errorOutput: String { state.withLock { String(decoding: $0.error, as: UTF8.self) } }
  package var lines: [String] { Self.lines(output) }
  package var errorLines: [String] { Self.lines(errorOutput) }

  /// The lines of JSON that have come, as dictionaries.
  package var objects: [[String: JSONValue]] {
    state.withLock { state in
      while let end = state.out[state.read...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Data(state.out[state.read..<end])
        if let object = try? JSONDecoder().decode([String: JSONValue].self, from: line) {
          state.objects.append(object)
        }
        state.read = end + 1
      }
      return state.objects
    }
  }

  private static func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map(String.init)
  }

  package func signal(_ number: Int32) {
    if isRunning { kill(processID, number) }
  }

  package var isRunning: Bool { poll(WNOHANG) == nil }

  package func waitForEnd() { _ = poll(0) }

  /// Waits for its end; whether it ended with 0.
  package var hasSucceeded: Bool { poll(0) == 0 }

  private func poll(_ options: Int32) -> Int32? {
    state.withLock { state in
      if let status = state.status { return status }
      var status: Int32 = 0
      if waitpid(processID, &status, options) == processID { state.status = status }
      return state.status
    }
  }

  /// Waits for its end and its last output; what a shell would tell of it.
  package func exitStatus(within limit: Duration = .seconds(30)) async throws -> Int32 {
    try await eventually("the process ends", within: limit) { !self.isRunning }
    // Whoever inherited the streams, as a keeper may, is not waited for.
    try? await eventually("the output ends", within: .milliseconds(500)) {
      self.state.withLock { $0.openStreams == 0 }
    }
    let status = poll(WNOHANG) ?? 0
    let signal = status & 0x7F
    return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
  }

  /// The most memory that it has had at a time, in kB.
  package var peakMemory: Int {
    get throws {
      let status = try String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8)
      let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
      return line?.split(whereSeparator: \.isWhitespace).at(1).flatMap { Int($0) } ?? .max
    }
  }
}
