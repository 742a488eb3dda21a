import Foundation
import Synchronization

/// A value behind a lock.
public final class Mutable<Value: Sendable>: Sendable {
  private let value: Mutex<Value>

  public init(_ value: Value) {
    self.value = Mutex(value)
  }

  public func get() -> Value { value.withLock { $0 } }
  public func set(_ new: Value) { value.withLock { $0 = new } }
  public func update(_ change: (inout Value) -> Void) { value.withLock { change(&$0) } }
}

/// A child process whose output is collected as it comes.
public final class ManagedProcess: Sendable {
  private struct Output {
    var out = Data()
    var error = Data()
  }

  private let process = Process()
  private let collected = Mutex(Output())

  /// - Parameters:
  ///   - program: a path, or a name that is looked for on the PATH.
  ///   - environment: the whole environment; nil for a bare one with a PATH.
  ///   - input: what it gets on stdin; nothing when nil.
  public init(
    _ program: String, _ arguments: [String], environment: [String: String]? = nil,
    input: [UInt8]? = nil
  ) throws {
    process.executableURL = URL(filePath: try Self.path(of: program))
    process.arguments = arguments
    process.environment = environment ?? Self.bareEnvironment
    let (out, error, stdin) = (Pipe(), Pipe(), Pipe())
    process.standardOutput = out
    process.standardError = error
    process.standardInput = input == nil ? FileHandle.nullDevice : stdin
    collect(out) { $0.out.append($1) }
    collect(error) { $0.error.append($1) }
    try process.run()
    if let input {
      stdin.fileHandleForWriting.write(Data(input))
      try stdin.fileHandleForWriting.close()
    }
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
  }

  public static var bareEnvironment: [String: String] {
    ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "TZ": "UTC"]
  }

  private static func path(of program: String) throws -> String {
    if program.contains("/") { return program }
    let folders = (bareEnvironment["PATH"] ?? "").split(separator: ":")
    guard
      let folder = folders.first(where: {
        FileManager.default.isExecutableFile(atPath: "\($0)/\(program)")
      })
    else { throw POSIXError(.ENOENT) }
    return "\(folder)/\(program)"
  }

  private func collect(_ pipe: Pipe, _ add: @escaping @Sendable (inout Output, Data) -> Void) {
    pipe.fileHandleForReading.readabilityHandler = { [weak self] handle in
      let data = handle.availableData
      if data.isEmpty { return handle.readabilityHandler = nil }
      self?.collected.withLock { add(&$0, data) }
    }
  }

  public var processID: Int32 { process.processIdentifier }
  public var isRunning: Bool { process.isRunning }
  public var output: String { text(\.out) }
  public var errorOutput: String { text(\.error) }
  public var lines: [String] { Self.lines(output) }
  public var errorLines: [String] { Self.lines(errorOutput) }

  private func text(_ part: KeyPath<Output, Data>) -> String {
    collected.withLock { String(decoding: $0[keyPath: part], as: UTF8.self) }
  }

  private static func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map(String.init)
  }

  public func signal(_ number: Int32) {
    kill(process.processIdentifier, number)
  }

  public func waitForEnd() { process.waitUntilExit() }

  /// Waits for its end; what a shell would tell of it.
  public func exitStatus(within limit: Duration = .seconds(30)) async throws -> Int32 {
    try await eventually("the process ends", within: limit) { !self.process.isRunning }
    // The last output may come just behind the end.
    try await Task.sleep(for: .milliseconds(20))
    let status = process.terminationStatus
    return process.terminationReason == .uncaughtSignal ? 128 + status : status
  }
}
