import Testing

@testable import Presence
@testable import Terminal
@testable import Views

@Suite("The model of top")
struct TopModelTests {
  private func model(_ statuses: [InstanceStatus]) -> TopModel {
    var model = TopModel()
    model.visibleRows = 3
    model.receive(Fleets.state(statuses))
    return model
  }

  private func names(_ model: inout TopModel) -> [String] { model.rows().map(\.instance.name) }

  private func type(_ text: String, _ model: inout TopModel) {
    for character in text { _ = model.press(.character(character)) }
  }

  private let fleet = [
    Fleets.status("web.2", release: "v1", started: Fleets.epoch + 10),
    Fleets.status("web.1", .stopping, release: "v2", started: Fleets.epoch + 30),
    Fleets.status("worker.1", release: "v3", started: Fleets.epoch + 20),
  ]

  @Test("a key sorts by its column, and pressed again the other way round")
  func sorting() {
    var model = model(fleet)
    #expect(names(&model) == ["web.1", "web.2", "worker.1"])
    type("n", &model)
    #expect(names(&model) == ["worker.1", "web.2", "web.1"])
    type("u", &model)
    #expect(names(&model) == ["web.2", "worker.1", "web.1"])
    type("r", &model)
    #expect(names(&model) == ["web.2", "web.1", "worker.1"])
    type("s", &model)
    #expect(names(&model) == ["web.1", "web.2", "worker.1"])
    type("ss", &model)
    #expect(names(&model) == ["web.1", "web.2", "worker.1"])
  }

  @Test("a filter is typed, corrected, kept with enter and dropped with escape")
  func filter() {
    var model = model(fleet)
    type("/work", &model)
    #expect(names(&model) == ["worker.1"] && model.mode == .typingFilter)
    type("q", &model)
    #expect(names(&model).isEmpty)
    _ = model.press(.backspace)
    _ = model.press(.enter)
    #expect(names(&model) == ["worker.1"] && model.mode == .table)
    _ = model.press(.escape)
    #expect(names(&model).count == 3)
    type("/STOPPING", &model)
    #expect(names(&model) == ["web.1"])
  }

  @Test(
    "the selection moves within the table, stays with its instance, and what is visible follows")
  func selection() {
    var model = model((0..<10).map { Fleets.status("web.\($0)") })
    #expect(model.visible().map(\.instance.name) == ["web.0", "web.1", "web.2"])
    for _ in 0..<4 { _ = model.press(.down) }
    #expect(model.visible().map(\.instance.name) == ["web.2", "web.3", "web.4"])
    #expect(model.selection == "ID-web.4")
    type("n", &model)
    _ = model.visible()
    #expect(model.selection == "ID-web.4")
    _ = model.press(.end)
    #expect(model.visible().last?.instance.name == "web.0")
    _ = model.press(.pageUp)
    _ = model.press(.home)
    #expect(model.visible().first?.instance.name == "web.9")
  }

  @Test("details ask for the events, take them once, and end with escape")
  func details() {
    var model = model(fleet)
    _ = model.visible()
    #expect(model.press(.enter) == .readEvents(id: "ID-web.1"))
    #expect(model.mode == .details(id: "ID-web.1"))
    var state = Fleets.state(fleet)
    let events = (1...3).map { Fleets.event(.start, $0, of: fleet[1].instance) }
    state.receive([.event(events[2], .live)], keepsRoster: true)
    model.receive(state)
    model.receive(events: events, of: "ID-web.1")
    model.receive(events: events, of: "ID-web.2")
    model.receive(state)
    #expect(model.events.map(\.position.seq) == [1, 2, 3])
    _ = model.press(.escape)
    #expect(model.mode == .table && model.events.isEmpty)
  }

  @Test("an instance that ended is shown for a minute")
  func ended() {
    var state = Fleets.state(fleet)
    let end = Fleets.event(.lost, 1, of: fleet[0].instance, at: Fleets.epoch + 6000)
    state.receive([.event(end, .live)], keepsRoster: true)
    var model = TopModel()
    model.receive(state)
    #expect(model.rows().first { $0.instance.name == "web.2" }?.state == .lost)
    state.renew(Leases(ends: [:], clock: ServerClock(time: Fleets.epoch + 67_000, asked: .now)))
    model.receive(state)
    #expect(!model.rows().contains { $0.instance.name == "web.2" })
  }

  @Test("q, Ctrl-C and Ctrl-Z ask for what they mean, also while a filter is typed")
  func quitting() {
    var model = model(fleet)
    #expect(model.press(.character("q")) == .quit)
    #expect(model.press(.suspend) == .suspend)
    type("/", &model)
    #expect(model.press(.character("q")) == nil)
    #expect(model.press(.interrupt) == .quit)
  }
}
