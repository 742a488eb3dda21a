import Presence

/// Which output of a watch is shown. The watcher's own remarks always pass.
package struct WatchFilter: Sendable {
  package var types: Set<EventType>?
  package var name: String?

  package init(types: Set<EventType>? = nil, name: String? = nil) {
    self.types = types
    self.name = name
  }

  /// Whether all output passes.
  package var isOpen: Bool { types == nil && name == nil }

  package func passes(_ output: WatchOutput) -> Bool {
    switch output {
    case .event(let event, _):
      passes(event.type) && passes(event.instance.name)
    case .snapshot(let status): passes(status.instance.name)
    case .foreign(let type, _): passes(type) && passes(WatchOutput.unnamed)
    case .message: types == nil && name == nil
    case .gap, .reset, .retracted: true
    }
  }

  private func passes(_ type: EventType) -> Bool { types?.contains(type) ?? true }

  /// - Parameter instanceName: is asked for only where it matters, as it is read from an event's bytes.
  private func passes(_ instanceName: @autoclosure () -> String) -> Bool {
    name.map { Glob($0).matches(instanceName()) } ?? true
  }
}
