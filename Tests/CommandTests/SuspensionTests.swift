import Foundation
import PaasbusRedis
import Presence
import TestSupport
import Testing

@Suite("Suspended")
struct SuspensionTests {
  /// Who stands still together, as when a machine, a container or a laptop is suspended.
  private enum Suspended: CaseIterable {
    case everybody, observer, serverAndObserver, halfOfTheAnnouncers
  }

  private static let trials = 5

  @Test(
    "after any pause only the instance that was killed in it is lost, and once",
    arguments: 1...8 as ClosedRange<UInt64>)
  func trials(seed: UInt64) async throws {
    try await RedisServer.with { server in
      var random = SeededGenerator(state: seed)
      let watch = try await Paasbus.watch(on: server)
      var fleet = Fleet(server: server)
      while fleet.members.count < 15 { try await fleet.add(&random) }
      var killed: [String] = []
      for trial in 1...Self.trials {
        let suspended = Suspended.allCases.randomElement(using: &random) ?? .everybody
        let length = 2 + 18 * pow(Double.random(in: 0...1, using: &random), 2)
        let victim = try #require(fleet.members.randomElement(using: &random))
        try await fleet.suspend(
          suspended, for: .seconds(length), watch: watch, victim: victim, &random)
        killed.append(victim.name)
        fleet.members.removeAll { $0.name == victim.name }
        _ = try await watch.waitFor("lost", count: trial)
        let lost = watch.objects(ofType: "lost").compactMap { $0["name"]?.text }
        #expect(lost == killed, "\(suspended), \(length) s")
        guard lost == killed else { return }
        try await fleet.add(&random)
      }
      try await fleet.end()
      _ = try await watch.waitFor("stop", count: fleet.members.count)
      #expect(watch.objects(ofType: "lost").count == Self.trials)
      #expect(watch.objects(ofType: "back").isEmpty)
    }
  }

  /// Announcers of different leases.
  private struct Fleet {
    struct Member {
      var name: String
      var process: ManagedProcess
    }

    /// What an announcer that goes on needs at most until its beat has arrived, on a busy machine.
    private static let timeToBeat = Duration.seconds(1)

    let server: RedisServer
    var members: [Member] = []
    private var count = 0

    init(server: RedisServer) { self.server = server }

    mutating func add(_ random: inout SeededGenerator) async throws {
      let seconds = [2, 2, 3, 5, 8, 15].randomElement(using: &random) ?? 2
      count += 1
      let name = "w\(count)"
      let process = try await Paasbus.announce(
        "--name", name, "--lease", "\(seconds)s", on: server)
      members.append(Member(name: name, process: process))
    }

    /// Lets some stand still, and kills the victim meanwhile; the server and the observer go on first,
    /// the announcers up to 3 s later.
    func suspend(
      _ suspended: Suspended, for length: Duration, watch: ManagedProcess, victim: Member,
      _ random: inout SeededGenerator
    ) async throws {
      if suspended == .halfOfTheAnnouncers {
        victim.process.signal(SIGKILL)
        return try await suspendHalf(for: length, without: victim, &random)
      }
      let announcers = suspended == .everybody ? members : []
      for member in announcers { member.process.signal(SIGSTOP) }
      if suspended != .observer { server.freeze() }
      watch.signal(SIGSTOP)
      try await pass(length)
      victim.process.signal(SIGKILL)
      if suspended != .observer { server.thaw() }
      watch.signal(SIGCONT)
      if !announcers.isEmpty { try await pass(random.milliseconds(0...3000)) }
      for member in announcers { member.process.signal(SIGCONT) }
    }

    /// Half of them stand still, each until little is left of its lease, as the server has it.
    private func suspendHalf(
      for limit: Duration, without victim: Member, _ random: inout SeededGenerator
    ) async throws {
      let half = members.shuffled(using: &random).prefix(members.count / 2)
      var suspended = half.filter { $0.name != victim.name }
      for member in suspended { member.process.signal(SIGSTOP) }
      let begun = ContinuousClock.now
      let bus = Bus(on: server)
      try await server.connector.withConnection { connection in
        try await eventually("all go on", within: limit + .seconds(30)) {
          let left = try await bus.leases(on: connection)
          suspended.removeAll { member in
            let isOver = ContinuousClock.now - begun > limit
            guard isOver || left[member.name] ?? .zero < Self.timeToBeat else { return false }
            member.process.signal(SIGCONT)
            return true
          }
          return suspended.isEmpty
        }
      }
    }

    func end() async throws {
      for member in members { member.process.signal(SIGTERM) }
      for member in members { _ = try await member.process.exitStatus() }
    }
  }

  @Test("a thousand announcers come back through a full queue of connections, and none is lost")
  func fullBacklog() async throws {
    try await RedisServer.with(
      usesTCP: true, options: ["--tcp-backlog", "128", "--maxclients", "4000"]
    ) { server in
      let bus = Bus(on: server)
      let watch = try await Paasbus.watch(on: server)
      let port = try #require(server.port)
      let connector = RedisConnector(
        endpoint: RedisEndpoint(address: .tcp(.init(name: "127.0.0.1", port: port))))
      var fleet = AnnouncerFleet()
      // One thread of this process beats for them all, and a busy machine must let it do so in time.
      for part in 0..<10 {
        let instances = (0..<100).map {
          Instance(app: "default", name: "w\(part)-\($0)", lease: .seconds(6))
        }
        await fleet.start(instances, connector: connector)
        _ = try await watch.waitFor("start", count: fleet.count)
      }
      #expect(watch.objects(ofType: "lost").count == 0, "before anything was suspended")
      server.freeze()
      try await pass(.seconds(20))
      server.thaw()
      try await eventually("all are up again", within: .seconds(60)) {
        let time = try await server.command("TIME").elements.first?.integer ?? 0
        let leases = try await server.command("ZCOUNT", bus.keys.leases, "\(time * 1000)", "+inf")
        return leases == .integer(1000)
      }
      try await pass(.seconds(3))
      #expect(watch.objects(ofType: "lost").count == 0)
      try await fleet.end()
      _ = try await watch.waitFor("stop", count: 1000)
      #expect(watch.objects(ofType: "lost").count == 0)
    }
  }

  @Test("a watch whose output nobody reads goes on to declare lost, also on new connections")
  func unreadOutput() async throws {
    try await RedisServer.with { server in
      let bus = Bus(on: server)
      let fifo = server.folder.appending(path: "fifo").path
      // The reader opens the pipe and reads nothing of it.
      let watch = try ManagedProcess(
        "sh",
        [
          "-c",
          "mkfifo \(fifo) && { sleep 1000 <\(fifo) & echo $! >\(fifo).reader; } && exec \(Paasbus.path) watch --json >\(fifo)",
        ], environment: ManagedProcess.bareEnvironment.merging(["PAASBUS_URL": server.url]) { $1 })
      try await eventually("it watches") { watch.errorOutput.contains("waiting") }
      try await bus.publish(3000)
      for (number, type) in ["normal", "pubsub"].enumerated() {
        let announce = try await Paasbus.announce("--lease", "2s", on: server)
        announce.signal(SIGKILL)
        try await eventually("it is lost") {
          try await bus.history.count { $0.contains(#""type":"lost""#) } == number + 1
        }
        // What is under way breaks off, and the watch has to connect again.
        try await server.command("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")
      }
      let announce = try await Paasbus.announce("--lease", "2s", on: server)
      announce.signal(SIGKILL)
      try await eventually("the last is lost") {
        try await bus.history.count { $0.contains(#""type":"lost""#) } == 3
      }
      kill(watch.processID, SIGKILL)
      let reader = try String(contentsOfFile: fifo + ".reader", encoding: .utf8)
      kill(try #require(pid_t(reader.filter(\.isNumber))), SIGKILL)
    }
  }
}
