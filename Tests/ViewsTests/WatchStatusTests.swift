import PaasbusRedis
import Testing

@testable import Presence
@testable import Terminal
@testable import Views

@Suite("The status line")
struct WatchStatusTests {
  private let plain = Typography(hasColor: false, isUnicode: true, columns: nil)

  private func summary(
    _ state: HubState, handling: WatchStatus.Handling? = nil, columns: Int = 200
  ) -> String {
    WatchStatus(state, handling: handling).summary(columns: columns, plain)
  }

  @Test("counts, releases of a roll-out and the connection are told")
  func fleet() {
    let state = Fleets.state([
      Fleets.status("a", release: "v1"), Fleets.status("b", .stopping, release: "v1"),
      Fleets.status("c", release: "v2", started: Fleets.epoch + 100),
    ])
    #expect(summary(state) == "2 up, 1 stopping · v1 2 → v2 1 · connected")
    #expect(summary(Fleets.state([])).hasSuffix("connected"))
  }

  @Test("what matters most stays where there is little room")
  func narrow() {
    var state = Fleets.state([Fleets.status("a", release: "v1")])
    #expect(summary(state, columns: 8) == "1 up")
    state.receive(.connectionLost(.redis(RedisError(.closed))))
    #expect(summary(state) == "connection lost, trying again · 1 up")
    #expect(summary(state, columns: 12) == "connection …")
  }

  @Test("before the first answer nothing else is told")
  func connecting() {
    #expect(summary(HubState(app: nil)) == "connecting")
  }

  @Test("a handler that is behind or fails is told")
  func handling() {
    let one = Fleets.instance("a")
    var state = Fleets.state([Fleets.status("a")])
    for seq in 1...5 as ClosedRange<Int64> {
      state.receive([.event(Fleets.event(.start, seq, of: one), .live)], keepsRoster: true)
    }
    var handling = WatchStatus.Handling()
    handling.handled = Position(epoch: Fleets.epoch, seq: 3)
    handling.failures = 1
    #expect(summary(state, handling: handling).contains("handler 2 behind, handler failed 1×"))
    #expect(handling.behind(nil) == 0)
    #expect(handling.behind(Position(epoch: Fleets.epoch + 1, seq: 2)) == 2)
  }
}
