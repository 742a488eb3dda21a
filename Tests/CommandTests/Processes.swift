import Foundation

/// What runs on this machine (proc(5)).
enum Processes {
  static var ids: [pid_t] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { pid_t($0) }
  }

  /// Those with this command line.
  static func ids(of line: String) -> [pid_t] {
    let wanted = line.replacing(" ", with: "\0") + "\0"
    return ids.filter {
      (try? String(contentsOfFile: "/proc/\($0)/cmdline", encoding: .utf8)) == wanted
    }
  }

  /// The states of all processes with this command line, as `S` or `T`.
  static func states(_ line: String) -> [Substring] { statuses(line).compactMap(\.first) }

  /// Whether a process with this command line is of the group that has its terminal.
  static func haveTerminal(_ line: String) -> Bool {
    // The state, the parent, the group, the session, the terminal, and the group that has it.
    statuses(line).contains { $0.count > 5 && $0[2] == $0[5] }
  }

  /// What `/proc/PID/stat` says behind the name of each process with this command line (proc(5)).
  private static func statuses(_ line: String) -> [[Substring]] {
    ids(of: line).compactMap { id in
      let state = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
      return state?.split(separator: ") ").last?.split(separator: " ")
    }
  }
}
