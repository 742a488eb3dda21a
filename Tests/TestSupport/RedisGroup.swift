import Foundation
import PaasbusRedis

extension RedisServer {
  /// Runs `body` with several servers.
  package static func withSeveral(
    _ count: Int, options: [String] = [], _ body: ([RedisServer]) async throws -> Void
  ) async throws {
    try await nest(count, options, [], body)
  }

  private static func nest(
    _ count: Int, _ options: [String], _ servers: [RedisServer],
    _ body: ([RedisServer]) async throws -> Void
  ) async throws {
    guard servers.count < count else { return try await body(servers) }
    try await with(usesTCP: true, options: options) { server in
      try await nest(count, options, servers + [server], body)
    }
  }
}

/// A Redis Cluster: three masters with a replica each.
package struct RedisCluster: Sendable {
  package let nodes: [RedisServer]

  package init(nodes: [RedisServer]) { self.nodes = nodes }

  package static func with(_ body: (RedisCluster) async throws -> Void) async throws {
    let options = [
      "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout",
      "1500", "--repl-diskless-sync-delay", "0",
    ]
    try await RedisServer.withSeveral(6, options: options) { servers in
      let cluster = RedisCluster(nodes: servers)
      let addresses = servers.map { "127.0.0.1:\($0.port ?? 0)" }
      let create = try ManagedProcess(
        "redis-cli",
        ["--cluster", "create"] + addresses + ["--cluster-replicas", "1", "--cluster-yes"])
      guard try await create.exitStatus(within: .seconds(60)) == 0 else {
        throw Impatience(description: "no cluster: \(create.output) \(create.errorOutput)")
      }
      try await cluster.awaitHealth()
      try await body(cluster)
    }
  }

  /// Waits until all nodes that answer agree that everything is fine, their replicas included.
  package func awaitHealth() async throws {
    try await eventually("the cluster is fine", within: .seconds(60)) {
      for node in nodes {
        let info = try await node.cli("CLUSTER", "INFO")
        guard info.contains("cluster_state:ok") else { return false }
        let role = try await node.cli("ROLE")
        guard role.hasPrefix("master") || role.contains("connected") else { return false }
      }
      return true
    }
  }

  package var url: String { "redis://127.0.0.1:\(nodes.first?.port ?? 0)" }

  /// The node that holds a key's slot.
  package func master(of key: String) async throws -> RedisServer {
    for node in nodes {
      let reply = try await node.cli("EXISTS", key)
      if !reply.hasPrefix("MOVED"), try await node.cli("ROLE").hasPrefix("master") { return node }
    }
    throw Impatience(description: "nobody holds \(key)")
  }
}

/// A master with a replica, and three sentinels that watch over them.
package struct RedisSentinels: Sendable {
  package let servers: [RedisServer]
  private let ports: [Int]
  private let password: String
  private let sentinelPassword: String

  package static func with(
    password: String, sentinelPassword: String,
    _ body: (RedisSentinels) async throws -> Void
  ) async throws {
    try await RedisServer.withSeveral(2, options: ["--repl-diskless-sync-delay", "0"]) { servers in
      let (master, replica) = (servers[0], servers[1])
      for server in servers {
        try await server.cli("CONFIG", "SET", "masterauth", password)
        try await server.cli("CONFIG", "SET", "requirepass", password)
      }
      try await replica.cli("-a", password, "REPLICAOF", "127.0.0.1", "\(master.port ?? 0)")
      let folder = master.folder
      var ports: [Int] = []
      var sentinels: [ManagedProcess] = []
      for number in 0..<3 {
        let port = try RedisServer.freePort()
        let file = folder.appending(path: "sentinel\(number).conf")
        try Data(
          """
          bind 127.0.0.1
          port \(port)
          dir \(folder.path)
          requirepass \(sentinelPassword)
          sentinel sentinel-pass \(sentinelPassword)
          sentinel monitor mine 127.0.0.1 \(master.port ?? 0) 2
          sentinel auth-pass mine \(password)
          sentinel down-after-milliseconds mine 1000
          sentinel failover-timeout mine 5000

          """.utf8
        ).write(to: file)
        sentinels.append(try ManagedProcess(RedisServer.program, [file.path, "--sentinel"]))
        ports.append(port)
      }
      let group = RedisSentinels(
        servers: servers, ports: ports, password: password, sentinelPassword: sentinelPassword)
      try await group.awaitAgreement()
      try await body(group)
      for sentinel in sentinels { sentinel.signal(SIGKILL) }
    }
  }

  /// Kills the master, waits until its replica has taken its place, and starts it again as a replica.
  package func failOver() async throws {
    func role(_ server: RedisServer) async throws -> String {
      try await server.cli("-a", password, "ROLE")
    }
    let isFirst = try await role(servers[0]).hasPrefix("master")
    let (master, replica) = isFirst ? (servers[0], servers[1]) : (servers[1], servers[0])
    try await eventually("the replica follows", within: .seconds(60)) {
      try await role(replica).contains("connected")
    }
    master.kill()
    try await eventually("the replica is the master", within: .seconds(60)) {
      try await role(replica).hasPrefix("master")
    }
    try await master.start(
      moreOptions: [
        "--requirepass", password, "--masterauth", password, "--replicaof", "127.0.0.1",
        "\(replica.port ?? 0)",
      ], until: "NOAUTH")
  }

  private func awaitAgreement() async throws {
    for port in ports {
      try await eventually("the sentinels know each other", within: .seconds(60)) {
        let process = try ManagedProcess(
          "redis-cli", ["-p", "\(port)", "-a", sentinelPassword, "SENTINEL", "master", "mine"])
        _ = try await process.exitStatus()
        let lines = process.lines
        func value(_ name: String) -> String? {
          lines.firstIndex(of: name).flatMap { lines.at($0 + 1) }
        }
        return value("num-other-sentinels") == "2" && value("num-slaves") == "1"
          && value("flags") == "master"
      }
    }
  }

  package var url: String {
    let hosts = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
    return "redis+sentinel://:\(password)@\(hosts)/mine?sentinel_password=\(sentinelPassword)"
  }
}
