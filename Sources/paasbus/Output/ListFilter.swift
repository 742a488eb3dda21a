import Presence

/// Which instances of a list were asked for: those in a state, or those that are present.
struct ListFilter: Sendable {
  var state: InstanceStatus.State?
  var name: String?

  var isOpen: Bool { state == nil && name == nil }

  /// The places of those that pass, by which they are looked at where they stand: they are large.
  func places(in instances: [InstanceStatus]) -> [Int] {
    instances.indices.filter { place in
      guard state.map({ $0 == instances[place].state }) ?? instances[place].isPresent else {
        return false
      }
      return name.map { Glob($0).matches(instances[place].instance.name) } ?? true
    }
  }
}
