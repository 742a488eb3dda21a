import Foundation

/// What runs on this machine (proc(5)).
enum Processes {
  static var ids: [pid_t] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { pid_t($0) }
  }

  /// The states of all processes with this command line, as `S` or `T`.
  static func states(_ line: String) -> [Substring] {
    let wanted = line.replacing(" ", with: "\0") + "\0"
    return ids.compactMap { id in
      let words = try? String(contentsOfFile: "/proc/\(id)/cmdline", encoding: .utf8)
      guard words == wanted,
        let state = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
      else { return nil }
      return state.split(separator: ") ").last?.prefix(1)
    }
  }
}
