import Foundation
import PaasbusRedis
import TestSupport

/// The Redis of the soak.
enum RelaySite: Sendable {
  case server(RedisServer, restarts: Bool)
  /// A master whose place its replica takes when it is killed.
  case sentinels(RedisSentinels)

  var url: String {
    switch self {
    case .server(let server, _): server.url
    case .sentinels(let group): group.url
    }
  }

  func withConnection<Result>(
    _ body: (RedisConnection) async throws -> Result
  ) async throws -> Result {
    try await RedisConnector(endpoint: RedisEndpoint(url: url)).withConnection(body)
  }

  /// Cuts one of the gateways' connections.
  func cutOne(_ random: inout SeededGenerator) async throws {
    let clients = try await withConnection { try await $0.send(RedisCommand("CLIENT", "LIST")) }
    let ids = (clients.string ?? "").split(separator: "\n").filter {
      $0.contains(" flags=P") || $0.contains("cmd=evalsha")
    }.compactMap { $0.split(separator: " ").first?.dropFirst(3) }
    guard let id = ids.randomElement(using: &random) else { return }
    _ = try await withConnection {
      try await $0.send(RedisCommand("CLIENT", "KILL", "ID", String(id)))
    }
  }

  /// Ends the server for a moment, or its place is taken.
  func fail() async throws -> String {
    switch self {
    case .server(_, restarts: false): return "nothing"
    case .server(let server, _):
      server.kill()
      try await server.start()
      return "redis"
    case .sentinels(let group):
      try await group.failOver()
      return "fail-over"
    }
  }
}

/// The gateways, each at a port of its own.
final class RelayGateways: Sendable {
  let ports: [Int]
  private let site: RelaySite
  private let processes: Mutable<[ManagedProcess?]>

  init(count: Int, site: RelaySite) async throws {
    self.site = site
    ports = try (0..<count).map { _ in try RedisServer.freePort() }
    processes = Mutable(Array(repeating: nil, count: count))
    for index in ports.indices { try start(index) }
    for port in ports {
      try await eventually("the gateway is ready") {
        try await HTTPAnswer.to("/readyz", port: port).status == 200
      }
    }
  }

  func start(_ index: Int) throws {
    let process = try Paasbus.start(
      ["serve", "--relay", "--app", "shop", "--listen", "127.0.0.1:\(ports[index])", "-q"],
      environment: ["PAASBUS_SESSION_SECRET": "keyboard cat", "PAASBUS_URL": site.url])
    processes.update { $0[index] = process }
  }

  func signal(_ index: Int, _ number: Int32) { processes.get()[index]?.signal(number) }

  func restart(_ index: Int, by number: Int32) async throws {
    signal(index, number)
    _ = try await processes.get()[index]?.exitStatus(within: .seconds(20))
    try start(index)
  }

  func end() async {
    for index in ports.indices { signal(index, SIGKILL) }
  }
}

/// What is done to them.
struct RelayFaults {
  let site: RelaySite
  let fleet: RelayGateways
  var random: SeededGenerator
  let isVerbose: Bool

  mutating func inject(until end: ContinuousClock.Instant) async throws -> [String: Int] {
    var done: [String: Int] = [:]
    while ContinuousClock.now < end {
      try await Task.sleep(for: random.milliseconds(300...2500))
      let index = Int.random(in: fleet.ports.indices, using: &random)
      let fault = try await injectOne(index)
      if isVerbose { print("soak: \(fault) \(index)") }
      done[fault, default: 0] += 1
    }
    return done
  }

  private mutating func injectOne(_ index: Int) async throws -> String {
    switch Int.random(in: 0..<100, using: &random) {
    case ..<25:
      try await fleet.restart(index, by: SIGKILL)
      return "kill"
    case ..<45:
      fleet.signal(index, SIGSTOP)
      try await Task.sleep(for: random.milliseconds(500...6000))
      fleet.signal(index, SIGCONT)
      return "stall"
    case ..<75:
      try? await site.cutOne(&random)
      return "cut"
    case ..<95:
      try await fleet.restart(index, by: SIGTERM)
      return "restart"
    default:
      return try await site.fail()
    }
  }
}
