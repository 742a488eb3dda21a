extension RedisConnector {
  /// The same connector for another key: in a cluster, connections lead to the node that holds its
  /// slot.
  package func routed(to key: String) -> RedisConnector {
    var copy = self
    copy.key = key
    return copy
  }

  /// Connects to the server that is meant: the master that the sentinels know, or the node that
  /// holds the slot of ``key``.
  func route() async throws -> RedisConnection {
    if case .sentinel(let hosts, let master) = endpoint.address {
      return try await connect(toMaster: master, knownBy: hosts)
    }
    do {
      return try await follow()
    } catch let error as RedisError where error.kind == .unreachable {
      // The node that the URL names may be the one that has failed.
      for host in nodes.hosts where .tcp(host) != endpoint.address {
        if let connection = try? await directed(to: host).follow() { return connection }
      }
      throw error
    }
  }

  private func directed(to host: RedisEndpoint.Host) -> RedisConnector {
    var copy = self
    copy.endpoint.address = .tcp(host)
    return copy
  }

  // MARK: Cluster

  /// How often one server may redirect to another before that counts as a loop.
  private static let maxRedirections = 5

  private func follow() async throws -> RedisConnection {
    var connector = self
    for _ in 0..<Self.maxRedirections {
      let (connection, answers) = try await connector.connectDirectly(
        with: connector.routingQuestions)
      switch connector.redirection(by: answers) {
      case nil: return connection
      case .moved(let host):
        await connection.close()
        connector = connector.directed(to: host)
      case .asked(let host):
        await connection.close()
        return try await connector.directed(to: host).connectDirectly().asking()
      }
    }
    throw RedisError(.redirectionLoop)
  }

  private enum Redirection {
    case moved(RedisEndpoint.Host)
    case asked(RedisEndpoint.Host)
  }

  private var routingQuestions: [RedisCommand] {
    guard let key else { return [] }
    let slots = nodes.isUnasked ? [RedisCommand("CLUSTER", "SLOTS")] : []
    return [RedisCommand("EXISTS", key)] + slots
  }

  /// The node at which the server says the key is; nil where the server has the key itself, or is
  /// not a cluster.
  private func redirection(by answers: [RedisValue]) -> Redirection? {
    if let slots = answers.at(1) { nodes.receive(slots, from: endpoint) }
    guard case .error(let text)? = answers.first else { return nil }
    let words = text.split(separator: " ")
    guard words.count == 3, let host = redirectedHost(words.at(2) ?? "") else { return nil }
    return switch words.first {
    case "MOVED": .moved(host)
    case "ASK": .asked(host)
    default: nil
    }
  }

  /// Reads `HOST:PORT`. A node that does not know its own name leaves it out, and an IPv6 address
  /// comes without brackets.
  private func redirectedHost(_ text: Substring) -> RedisEndpoint.Host? {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (1...65_535).contains(port)
    else { return nil }
    let name = String(text[..<colon])
    return RedisEndpoint.Host(name: name.isEmpty ? endpoint.hostName ?? "" : name, port: port)
  }

  /// A connector for each master of a cluster.
  ///
  /// - Parameter connection: to any of its nodes.
  /// - Returns: none where the server is not a cluster.
  /// - Throws: ``RedisError``.
  package func masters(knownBy connection: RedisConnection) async throws -> [RedisConnector] {
    let slots = try await connection.pipeline([RedisCommand("CLUSTER", "SLOTS")]).first ?? .null
    return RedisNodes.masters(slots, from: endpoint).map(directed)
  }

  // MARK: Sentinel

  private func connect(
    toMaster name: String, knownBy sentinels: [RedisEndpoint.Host]
  ) async throws -> RedisConnection {
    var failure: any Error = RedisError(.closed)
    for sentinel in sentinels {
      do {
        let host = try await master(name, by: sentinel)
        let connection = try await directed(to: host).connectDirectly()
        let role = try? await connection.send(RedisCommand("ROLE"))
        guard role?.elements.first?.string != "slave" else {
          await connection.close()
          throw RedisError(.masterIsReplica)
        }
        return connection
      } catch {
        if error is CancellationError { throw error }
        failure = error
      }
    }
    throw failure
  }

  private func master(
    _ name: String, by sentinel: RedisEndpoint.Host
  ) async throws -> RedisEndpoint.Host {
    var asking = directed(to: sentinel)
    asking.endpoint.username = endpoint.sentinelLogin.username
    asking.endpoint.password = endpoint.sentinelLogin.password
    asking.endpoint.database = 0
    asking.name = nil
    let connection = try await asking.connectDirectly()
    let reply: RedisValue
    do {
      reply = try await connection.send(
        RedisCommand("SENTINEL", "get-master-addr-by-name", name))
      await connection.close()
    } catch {
      await connection.close()
      throw error
    }
    guard let host = reply.elements.first?.string, let port = reply.elements.at(1)?.integer,
      (1...65_535).contains(port)
    else {
      throw RedisError(.unknownMaster(name))
    }
    return RedisEndpoint.Host(name: host, port: Int(port))
  }
}
