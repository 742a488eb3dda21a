import Presence

/// The goal of a `wait`.
package struct WaitGoal: Sendable {
  package enum Condition: Sendable, Hashable {
    case atLeast(Int)
    /// Neither more nor fewer, and where a release is asked for, no instance of another release.
    case exactly(Int)
    /// No instance is up or stopping.
    case gone
  }

  /// How many instances there are in the states that matter.
  package struct Progress: Sendable, Hashable {
    package var up = 0
    /// Present, but not up: stopping or overdue.
    package var leaving = 0
    /// Those of `leaving` whose lease is over, and that may be gone.
    package var overdue = 0
    /// Present, of another release.
    package var others = 0

    package init() {}
  }

  package var condition: Condition
  package var release: String?
  /// A glob.
  package var name: String?

  package init(condition: Condition, release: String? = nil, name: String? = nil) {
    self.condition = condition
    self.release = release
    self.name = name
  }

  package func progress(_ roster: Roster) -> Progress {
    var progress = Progress()
    let glob = name.map(Glob.init)
    for status in roster.statuses.values where status.isPresent {
      guard glob?.matches(status.instance.name) ?? true else { continue }
      if let release, status.instance.release != release {
        progress.others += 1
      } else if status.state == .up {
        progress.up += 1
      } else {
        progress.leaving += 1
        if status.state == .overdue { progress.overdue += 1 }
      }
    }
    return progress
  }

  package func isMet(by progress: Progress) -> Bool {
    switch condition {
    case .atLeast(let count): progress.up >= count
    case .exactly(let count): progress.up == count && progress.others == 0
    case .gone: progress.up + progress.leaving == 0
    }
  }

  /// The progress, compared with the goal.
  package func text(_ progress: Progress) -> String {
    let kind = [release, name].compactMap(\.self).map { " \(Visible.text($0))" }.joined()
    var parts: [String]
    switch condition {
    case .atLeast(let count): parts = ["\(progress.up) of \(count)\(kind) up"]
    case .exactly(let count): parts = ["\(progress.up) of exactly \(count)\(kind) up"]
    case .gone: parts = ["\(progress.up)\(kind) still up"]
    }
    let stopping = progress.leaving - progress.overdue
    if stopping > 0 { parts.append("\(stopping) stopping") }
    if progress.overdue > 0 { parts.append("\(progress.overdue) overdue") }
    if progress.others > 0 { parts.append("\(progress.others) of other releases") }
    return parts.joined(separator: ", ")
  }
}
