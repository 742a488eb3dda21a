import Testing

@testable import Presence

@Suite("Roster")
struct RosterTests {
  private func event(
    _ type: EventType, _ seq: Int64, id: String = "A", epoch: Int64 = 5
  ) -> Event {
    var instance = Instance(app: "x", id: id, name: "w", lease: .seconds(15))
    instance.started = 100
    return Event(
      type: type, position: Position(epoch: epoch, seq: seq), at: 1000 + seq, instance: instance)
  }

  private func whole(_ states: [(String, InstanceStatus.State)], seq: Int64) -> Snapshot {
    let statuses = states.map { id, state in
      InstanceStatus(
        instance: Instance(app: "x", id: id, name: "w", lease: .seconds(15)), state: state, seq: 1,
        leaseEnd: 20_000)
    }
    return Snapshot(
      now: 900, position: Position(epoch: 5, seq: seq), channel: nil, instances: statuses,
      tail: [])
  }

  @Test("events change who is there")
  func events() {
    var roster = Roster()
    for (number, (type, state)) in [
      (EventType.start, InstanceStatus.State?.some(.up)), (.stopping, .stopping),
      (.stop, .stopped), (.back, .up), (.lost, .lost), (.start, .up), (.forgotten, nil),
    ].enumerated() {
      roster.receive(event(type, Int64(number) + 1))
      #expect(roster.statuses["A"]?.state == state)
    }
  }

  @Test("what the whole bus already holds is passed over, and a new whole replaces everything")
  func wholes() {
    var roster = Roster()
    roster.receive(event(.start, 1, id: "gone"))
    roster.begin(with: whole([("A", .up), ("B", .stopped)], seq: 7))
    #expect(Set(roster.statuses.keys) == ["A"])
    roster.receive(event(.stop, 7))
    #expect(roster.statuses["A"]?.state == .up)
    roster.receive(event(.stop, 8))
    #expect(roster.statuses["A"]?.state == .stopped)
    // The bus was born again, and its numbers begin anew.
    roster.receive(event(.start, 1, epoch: 6))
    #expect(roster.statuses["A"]?.state == .up)
  }

  @Test("leases are renewed, and who is late for a moment is overdue just then")
  func leases() {
    var roster = Roster()
    roster.receive(event(.start, 1))
    #expect(roster.statuses["A"]?.leaseEnd == 16_001)
    var usage = InstanceUsage()
    usage.memory = 5
    roster.renew(
      Leases(
        ends: ["A": 30_000, "nobody": 1], clock: ServerClock(time: 1, asked: .now),
        usages: ["A": usage, "nobody": usage]))
    #expect(roster.statuses["A"]?.leaseEnd == 30_000 && roster.statuses.count == 1)
    #expect(roster.statuses["A"]?.usage?.memory == 5)
    roster.receive(event(.lost, 2))
    #expect(roster.statuses["A"]?.usage?.memory == 5, "the last that is known of it")
    roster.receive(event(.back, 3))
    roster.renew(Leases(ends: ["A": 30_000], clock: ServerClock(time: 1, asked: .now)))
    #expect(roster.statuses["A"]?.state(at: 30_001) == .overdue)
    #expect(roster.statuses["A"]?.state(at: 30_000) == .up)
  }

  @Test("who ended is kept until it is forgotten")
  func ends() {
    var roster = Roster()
    roster.receive(event(.start, 1))
    roster.receive(event(.lost, 2))
    #expect(roster.statuses["A"]?.state == .lost)
    roster.forgetEnded(before: 1002)
    #expect(roster.statuses.count == 1)
    roster.forgetEnded(before: 1003)
    #expect(roster.statuses.isEmpty && roster.ends.isEmpty)
  }
}
