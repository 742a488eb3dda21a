import Presence

/// Which instances a list shows: those in a state, or those that are present.
package struct ListFilter: Sendable {
  package var state: InstanceStatus.State?
  package var name: String?

  package var isOpen: Bool { state == nil && name == nil }

  package init(state: InstanceStatus.State? = nil, name: String? = nil) {
    self.state = state
    self.name = name
  }

  package func passes(_ status: InstanceStatus) -> Bool {
    guard state.map({ $0 == status.state }) ?? status.isPresent else { return false }
    return name.map { Glob($0).matches(status.instance.name) } ?? true
  }
}
