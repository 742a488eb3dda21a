import Foundation
import TestSupport
import Testing

/// A clock that libfaketime moves, for the programs that are given its environment.
struct MovedClock {
  private static let folder = "/usr/lib/x86_64-linux-gnu"
  private let file: URL

  static func with(_ body: (MovedClock) async throws -> Void) async throws {
    let file = URL(filePath: "/tmp/paasbus-test-clock-\(UUID().uuidString.prefix(12))")
    defer { try? FileManager.default.removeItem(at: file) }
    try await body(MovedClock(file: file))
  }

  var environment: [String: String] {
    // With jemalloc, as redis-server has it, libfaketime calls itself until libc's malloc is first.
    let libraries = ["libc_malloc_debug.so.0", "faketime/libfaketime.so.1"]
    return [
      "LD_PRELOAD": libraries.map { "\(Self.folder)/\($0)" }.joined(separator: " "),
      "FAKETIME_TIMESTAMP_FILE": file.path,
      "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    ]
  }

  func shift(_ shift: String) {
    try? Data("\(shift)\n".utf8).write(to: file, options: .atomic)
  }

  /// Sees to it that the clock of a program is moved indeed.
  func isMoved() async throws {
    shift("+400d")
    defer { shift("+0") }
    let all = ManagedProcess.bareEnvironment.merging(environment) { $1 }
    let date = try ManagedProcess("date", ["+%s"], environment: all)
    _ = try await date.exitStatus()
    let told = Double(date.output.filter(\.isNumber)) ?? 0
    try #require(told - Date().timeIntervalSince1970 > 300 * 86_400)
  }

  /// Takes one shift after the other, and ends with the first.
  func keepMoving(_ shifts: [String], for duration: Duration) async throws {
    let begun = ContinuousClock.now
    var turn = 0
    try await eventually("the clock was moved for long enough") {
      turn += 1
      shift(shifts[turn / 60 % shifts.count])
      return ContinuousClock.now - begun > duration
    }
    shift(shifts[0])
  }
}
