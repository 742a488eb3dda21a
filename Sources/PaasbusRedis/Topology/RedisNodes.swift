import Synchronization

/// What is known of the nodes of a cluster; shared by all copies of a connector.
final class RedisNodes: Sendable {
  private enum State {
    case unasked
    case noCluster
    case known([RedisEndpoint.Host])
  }

  private let state = Mutex(State.unasked)

  var isUnasked: Bool {
    state.withLock { if case .unasked = $0 { true } else { false } }
  }

  var hosts: [RedisEndpoint.Host] {
    state.withLock { if case .known(let hosts) = $0 { hosts } else { [] } }
  }

  /// Takes the reply to `CLUSTER SLOTS`: ranges, each with its nodes as host, port and more.
  ///
  /// - Parameter asked: the node that answered. It leaves out its own name where it does not know
  ///   it.
  func receive(_ reply: RedisValue, from asked: RedisEndpoint) {
    let hosts = Self.hosts(reply.elements.flatMap { $0.elements.dropFirst(2) }, from: asked)
    state.withLock { $0 = hosts.isEmpty ? .noCluster : .known(hosts) }
  }

  /// The masters in the reply to `CLUSTER SLOTS`: the first node of each range.
  static func masters(_ reply: RedisValue, from asked: RedisEndpoint) -> [RedisEndpoint.Host] {
    hosts(reply.elements.compactMap { $0.elements.at(2) }, from: asked)
  }

  private static func hosts(
    _ nodes: [RedisValue], from asked: RedisEndpoint
  ) -> [RedisEndpoint.Host] {
    var hosts: [RedisEndpoint.Host] = []
    for node in nodes {
      guard let port = node.elements.at(1)?.integer, (1...65_535).contains(port) else { continue }
      let name = node.elements.first?.string.flatMap { $0.isEmpty ? nil : $0 }
      let host = RedisEndpoint.Host(name: name ?? asked.hostName ?? "", port: Int(port))
      if !hosts.contains(host) { hosts.append(host) }
    }
    return hosts
  }
}
