import Foundation
import TestSupport

/// Announcers that are started, told to stop and killed at random; what was done to each is kept.
actor Fleet {
  struct Member: Sendable {
    enum End: Sendable {
      case living
      case told(at: Date)
      case killed(at: Date)
    }

    let name: String
    let process: ManagedProcess
    var end = End.living
    /// How often it was stopped for longer than its lease may bear.
    var freezes = 0
    var isFrozen = false
    /// nil as long as it has not ended.
    var status: Int32?

    var isLiving: Bool {
      if case .living = end { return true }
      return false
    }
  }

  private(set) var members: [Member] = []
  private let server: RedisServer
  private let isVerbose: Bool
  private var random: SeededGenerator

  init(server: RedisServer, seed: UInt64, isVerbose: Bool) {
    self.server = server
    self.isVerbose = isVerbose
    random = SeededGenerator(state: seed ^ 0xF1EE7)
  }

  /// Keeps about `count` of them alive while some end, until `end`.
  func live(count: Int, until end: ContinuousClock.Instant) async throws {
    while ContinuousClock.now < end {
      while members.count(where: \.isLiving) < count { try start() }
      try await Task.sleep(for: random.milliseconds(50...300))
      let able = members.indices.filter { members[$0].isLiving && !members[$0].isFrozen }
      guard let index = able.randomElement(using: &random) else { continue }
      if random.chance(oneIn: 3) { kill(index) } else { tell(index) }
    }
  }

  private func start() throws {
    let name = "i\(members.count)"
    let lease = ["2s", "3s", "5s"].randomElement(using: &random) ?? "2s"
    let process = try Paasbus.start(
      "announce", "--app", "soak", "--name", name, "--lease", lease, "--history", "20000",
      on: server)
    members.append(Member(name: name, process: process))
  }

  private func tell(_ index: Int) {
    say("kill -15 \(members[index].name)")
    members[index].end = .told(at: Date())
    members[index].process.signal(SIGTERM)
  }

  private func kill(_ index: Int) {
    say("kill -9 \(members[index].name)")
    members[index].end = .killed(at: Date())
    members[index].process.signal(SIGKILL)
  }

  /// Sends a signal to all.
  func signal(_ number: Int32) {
    for member in members { member.process.signal(number) }
  }

  /// Stops one for a while.
  func freezeOne(for duration: Duration) async throws {
    let able = members.indices.filter { members[$0].isLiving && !members[$0].isFrozen }
    guard let index = able.randomElement(using: &random) else { return }
    members[index].isFrozen = true
    members[index].freezes += 1
    members[index].process.signal(SIGSTOP)
    try await Task.sleep(for: duration)
    members[index].process.signal(SIGCONT)
    members[index].isFrozen = false
  }

  /// Tells all that live to stop, and waits for all of them.
  func end() async throws {
    for index in members.indices where members[index].isLiving { tell(index) }
    for index in members.indices {
      members[index].status = try await members[index].process.exitStatus()
    }
    // Whoever was killed last has to be found lost before the comparison.
    try await Task.sleep(for: .seconds(8))
  }

  private func say(_ text: String) {
    if isVerbose { print("soak: \(text)") }
  }
}
