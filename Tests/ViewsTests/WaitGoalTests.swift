import Testing

@testable import Presence
@testable import Views

@Suite("What a wait waits for")
struct WaitGoalTests {
  private func progress(_ goal: WaitGoal, _ statuses: [InstanceStatus]) -> WaitGoal.Progress {
    goal.progress(Fleets.state(statuses).roster)
  }

  private let rollOut = [
    Fleets.status("web.1", release: "v2"), Fleets.status("web.2", release: "v2"),
    Fleets.status("web.3", .stopping, release: "v1"),
    Fleets.status("worker.1", .overdue, release: "v2"), Fleets.status("old", .lost, release: "v1"),
  ]

  @Test("up, leaving and others are counted, by release and name")
  func counts() {
    var goal = WaitGoal(condition: .atLeast(2), release: "v2")
    var found = progress(goal, rollOut)
    #expect(found.up == 2 && found.leaving == 1 && found.others == 1)
    goal.name = "web.*"
    found = progress(goal, rollOut)
    #expect(found.up == 2 && found.leaving == 0 && found.others == 1)
    goal.release = nil
    found = progress(goal, rollOut)
    #expect(found.up == 2 && found.leaving == 1 && found.others == 0)
  }

  @Test("each condition is met by just what it says")
  func conditions() {
    func isMet(_ condition: WaitGoal.Condition, up: Int, leaving: Int = 0, others: Int = 0) -> Bool
    {
      var progress = WaitGoal.Progress()
      (progress.up, progress.leaving, progress.others) = (up, leaving, others)
      return WaitGoal(condition: condition).isMet(by: progress)
    }
    #expect(isMet(.atLeast(2), up: 3, others: 1) && !isMet(.atLeast(2), up: 1, leaving: 5))
    #expect(isMet(.exactly(2), up: 2) && !isMet(.exactly(2), up: 3))
    #expect(!isMet(.exactly(2), up: 2, others: 1))
    #expect(isMet(.gone, up: 0) && !isMet(.gone, up: 0, leaving: 1) && !isMet(.gone, up: 1))
  }

  @Test("what there is stands beside what is waited for")
  func text() {
    let goal = WaitGoal(condition: .exactly(3), release: "v2")
    #expect(
      goal.text(progress(goal, rollOut)) == "2 of exactly 3 v2 up, 1 overdue, 1 of other releases")
  }
}
