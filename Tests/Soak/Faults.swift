import Foundation
import PaasbusRedis
import Presence
import TestSupport

/// What goes wrong, drawn at random and carried out one after the other.
struct Faults {
  enum Fault: String, CaseIterable, Sendable {
    case killConnections, freezeServer, restartServer, loseData, loseKey, fillMemory, becomeReplica
    case forgetScripts, keepBusy, freezeAnnouncer, freezeWatcher, silence, lie, flood
    /// All that stood still go on at once.
    case suspendEverything
    case suspendObservers, suspendServerAndObservers
    /// The announcers go on some time after all others.
    case suspendAnnouncersLonger
  }

  /// What was done, and when.
  struct Record: Sendable {
    var fault: Fault
    var began: Date
    var ended: Date

    /// Whether records or leases of instances were lost.
    var losesData: Bool { fault == .loseData || fault == .loseKey }
  }

  let server: RedisServer
  let proxy: Proxy
  let fleet: Fleet
  let watches: WatchProcesses
  let truth: Truth
  var random: SeededGenerator
  let isVerbose: Bool

  func inject(until end: ContinuousClock.Instant) async throws -> [Record] {
    var copy = self
    return try await copy.injectAll(until: end)
  }

  private mutating func injectAll(until end: ContinuousClock.Instant) async throws -> [Record] {
    var records: [Record] = []
    while true {
      try await Task.sleep(for: random.milliseconds(100...2500))
      guard ContinuousClock.now < end, let fault = Fault.allCases.randomElement(using: &random)
      else { return records }
      if isVerbose { print("soak: \(fault)") }
      let began = Date()
      try await carryOut(fault)
      records.append(Record(fault: fault, began: began, ended: Date()))
    }
  }

  private mutating func carryOut(_ fault: Fault) async throws {
    switch fault {
    case .killConnections:
      for type in ["normal", "pubsub"].shuffled(using: &random) {
        try await server.cli("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")
      }
    case .freezeServer:
      server.freeze()
      try await Task.sleep(for: random.milliseconds(100...5000))
      server.thaw()
    case .restartServer:
      server.kill()
      try await Task.sleep(for: random.milliseconds(0...4000))
      try await server.start()
    case .loseData: try await truth.capture(destroying: [RedisCommand("FLUSHALL")])
    case .loseKey:
      let keys = truth.keys
      let all = [keys.bus, keys.instances, keys.leases, keys.ended, keys.events]
      let key = all.randomElement(using: &random) ?? keys.bus
      try await truth.capture(destroying: [RedisCommand("DEL", key)])
    case .fillMemory:
      try await disturb(["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"])
    case .becomeReplica:
      try await disturb(["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"])
    case .forgetScripts: try await server.cli("SCRIPT", "FLUSH")
    case .keepBusy: try await keepBusy()
    case .freezeAnnouncer: try await fleet.freezeOne(for: random.milliseconds(100...7000))
    case .freezeWatcher: try await freezeWatcher()
    case .silence:
      proxy.fallSilent()
      try await Task.sleep(for: random.milliseconds(500...9000))
      proxy.speak()
    case .lie: try await lie()
    case .flood: try await flood()
    case .suspendEverything: try await suspend(announcers: true, longer: .zero)
    case .suspendObservers: try await suspend(server: false)
    case .suspendServerAndObservers: try await suspend()
    case .suspendAnnouncersLonger:
      try await suspend(announcers: true, longer: random.milliseconds(0...3000))
    }
  }

  /// Lets all watchers and more stand still, for longer than a break takes to be noticed.
  private mutating func suspend(
    server isServerToo: Bool = true, announcers: Bool = false, longer: Duration = .zero
  ) async throws {
    if announcers { await fleet.signal(SIGSTOP) }
    if isServerToo { server.freeze() }
    for watch in watches.all { watch.signal(SIGSTOP) }
    try await Task.sleep(for: random.milliseconds(2000...9000))
    if isServerToo { server.thaw() }
    for watch in watches.all { watch.signal(SIGCONT) }
    try await Task.sleep(for: longer)
    if announcers { await fleet.signal(SIGCONT) }
  }

  private mutating func disturb(_ begin: [String], _ end: [String]) async throws {
    try await server.cli(begin)
    try await Task.sleep(for: random.milliseconds(300...5000))
    try await server.cli(end)
  }

  private mutating func keepBusy() async throws {
    let busy = try ManagedProcess(
      "redis-cli", ["-s", server.socketPath, "EVAL", "while true do end", "0"])
    try await Task.sleep(for: random.milliseconds(200...3000))
    try await server.cli("SCRIPT", "KILL")
    _ = try await busy.exitStatus()
  }

  private mutating func freezeWatcher() async throws {
    guard let watch = watches.all.randomElement(using: &random) else { return }
    watch.signal(SIGSTOP)
    try await Task.sleep(for: random.milliseconds(200...6000))
    watch.signal(SIGCONT)
  }

  /// Events that nobody's script wrote: the very next ones, some far away, one of another epoch.
  private mutating func lie() async throws {
    guard let last = await truth.last else { return }
    for distance: Int64 in [1, 2, 3, 50, -2] {
      let seq = max(1, last.seq + distance)
      let epoch = random.chance(oneIn: 4) ? last.epoch + 1 : last.epoch
      let text =
        #"{"v":1,"type":"lost","epoch":\#(epoch),"seq":\#(seq),"at":5,"app":"soak","#
        + #""id":"liar","name":"liar","started":1,"lease":15000,"reason":"lease"}"#
      try await server.cli("PUBLISH", Watcher.defaultChannel, text)
    }
  }

  private mutating func flood() async throws {
    let rubbish = Array(repeating: UInt8.random(in: 0...255, using: &random), count: 1_000_000)
    let publish = RedisCommand(
      arguments: [Array("PUBLISH".utf8), Array(Watcher.defaultChannel.utf8), rubbish])
    _ = try await server.connector.withConnection { connection in
      try await connection.pipeline(Array(repeating: publish, count: 20))
    }
  }
}
