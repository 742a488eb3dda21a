import Foundation
import TestSupport

/// Watches with one handler, and what was done to them.
final class HandlerPool {
  enum Deed: CaseIterable {
    case kill, stop, suspend, restartServer, cutConnections, leaveNone
  }

  /// A time during which a watch was not well.
  struct Fault {
    var watch: Int
    var began: Date
    var ended: Date
  }

  /// One run of the handler.
  struct Run {
    var seq: Int
    var watch: Int
    var began: Date
    /// nil where it did not come to its end.
    var status: Int?

    var hasSucceeded: Bool { status == 0 }
  }

  private let server: RedisServer
  private let isVerbose: Bool
  private var random: SeededGenerator
  private var watches: [Int: ManagedProcess] = [:]
  private var started = 0
  private(set) var faults: [Fault] = []

  private var log: URL { server.folder.appending(path: "runs") }

  init(_ count: Int, on server: RedisServer, seed: UInt64, isVerbose: Bool) async throws {
    self.server = server
    self.isVerbose = isVerbose
    random = SeededGenerator(state: seed)
    for _ in 0..<count { try start() }
    for watch in watches.values {
      try await eventually("it watches") { watch.errorOutput.contains("watching ") }
    }
  }

  private func start() throws {
    started += 1
    // One event of eleven fails at its first try.
    let script = """
      cd \(server.folder.path)
      say() { echo "$1 $PAASBUS_EVENT_SEQ \(started) $(date +%s%N) $2" >> \(log.path); }
      say begin
      sleep 0.0$((PAASBUS_EVENT_SEQ % 9))
      status=0
      [ $((PAASBUS_EVENT_SEQ % 11)) != 0 -o -e failed.$PAASBUS_EVENT_SEQ ] || status=1
      : > failed.$PAASBUS_EVENT_SEQ
      say end $status
      exit $status
      """
    watches[started] = try Paasbus.start(
      "watch", "--json", "--app", "soak", "--handler", "soak", "--exec", script, on: server)
  }

  // MARK: Faults

  func disturb(until end: ContinuousClock.Instant) async throws {
    while true {
      try await Task.sleep(for: random.milliseconds(500...4000))
      guard ContinuousClock.now < end, let deed = Deed.allCases.randomElement(using: &random),
        let number = watches.keys.sorted().randomElement(using: &random)
      else { return }
      if isVerbose { print("soak: \(deed) \(number)") }
      try await carryOut(deed, number)
    }
  }

  private func carryOut(_ deed: Deed, _ number: Int) async throws {
    switch deed {
    case .kill, .stop:
      try await remove(number, by: deed == .kill ? SIGKILL : SIGTERM)
      try start()
    case .suspend:
      let began = Date()
      watches[number]?.signal(SIGSTOP)
      try await Task.sleep(for: random.milliseconds(500...20_000))
      watches[number]?.signal(SIGCONT)
      faults.append(Fault(watch: number, began: began, ended: Date()))
    case .restartServer:
      server.kill()
      // Now and then for longer than an owner's time.
      let isLong = random.chance(oneIn: 4)
      try await Task.sleep(for: random.milliseconds(isLong ? 16_000...20_000 : 0...3000))
      try await server.start()
    case .cutConnections:
      for type in ["normal", "pubsub"] {
        try await server.cli("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")
      }
    case .leaveNone:
      let count = watches.count
      for number in watches.keys.sorted() { try await remove(number, by: SIGTERM) }
      try await Task.sleep(for: random.milliseconds(500...3000))
      for _ in 0..<count { try start() }
    }
  }

  private func remove(_ number: Int, by signal: Int32) async throws {
    guard let watch = watches.removeValue(forKey: number) else { return }
    let began = Date()
    watch.signal(signal)
    _ = try await watch.exitStatus()
    // A handler that outlives its watch may still write.
    faults.append(Fault(watch: number, began: began, ended: Date() + 1))
  }

  func end() async throws {
    for number in watches.keys.sorted() { try await remove(number, by: SIGTERM) }
  }

  // MARK: What was done

  func runs() throws -> [Run] {
    var runs: [Run] = []
    for line in try String(contentsOf: log, encoding: .utf8).split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count >= 4, let seq = Int(words[1]), let watch = Int(words[2]),
        let time = Double(words[3])
      else { continue }
      if words[0] == "begin" {
        runs.append(Run(seq: seq, watch: watch, began: Date(timeIntervalSince1970: time / 1e9)))
      } else if let index = runs.lastIndex(where: { $0.seq == seq && $0.watch == watch }) {
        runs[index].status = words.last.flatMap { Int($0) }
      }
    }
    return runs
  }
}

/// What the handler was run for, beside what happened.
struct HandlerVerdict: SoakVerdict {
  let count: Int
  let runs: [HandlerPool.Run]
  private let faults: [HandlerPool.Fault]
  private let bySeq: [Int: [HandlerPool.Run]]

  init(count: Int, runs: [HandlerPool.Run], faults: [HandlerPool.Fault]) {
    (self.count, self.runs, self.faults) = (count, runs, faults)
    bySeq = Dictionary(grouping: runs, by: \.seq)
  }

  private var missing: Int {
    let handled = Set(runs.lazy.filter(\.hasSucceeded).map(\.seq))
    return count == 0 ? 1 : (1...count).count { !handled.contains($0) }
  }

  /// Events that were handled again although the watch that had handled them was well until the next run.
  private var doubled: [Int] {
    bySeq.values.compactMap { runs in
      guard let first = runs.first(where: \.hasSucceeded), let last = runs.last,
        last.began > first.began
      else { return nil }
      let wasIll = faults.contains { fault in
        fault.watch == first.watch && fault.ended > first.began && fault.began < last.began
      }
      return wasIll ? nil : first.seq
    }
  }

  /// Events that were first begun after a later one.
  private var disordered: Int {
    let firsts = bySeq.values.compactMap(\.first).sorted { $0.began < $1.began }
    return zip(firsts, firsts.dropFirst()).count { $0.seq > $1.seq }
  }

  var isFine: Bool { missing == 0 && doubled.isEmpty && disordered == 0 }

  var report: String {
    let again = bySeq.values.count { $0.count(where: \.hasSucceeded) > 1 }
    return """
      events \(count), runs \(runs.count), watches killed, stopped or suspended \(faults.count)
      missing \(missing), handled again without a reason \(doubled.count) \
      \(doubled.sorted().prefix(10)), out of order \(disordered)
      handled again after a fault \(again - doubled.count)
      """
  }
}
