import ArgumentParser
import PaasbusRedis
import Presence
import Supervisor
import Synchronization
import Terminal
import Views

/// A `wait` under way.
final class Waiting: Sendable {
  private struct Met: Error {}
  private struct State {
    var progress = WaitGoal.Progress()
    var isAway = false
    var app: String?
  }

  private let goal: WaitGoal
  private let limit: Duration
  private let setup: Setup
  private let begun = ContinuousClock.now
  private let state = Mutex(State())
  let statusLine: StatusLine?

  init(_ goal: WaitGoal, limit: Duration, _ setup: Setup) {
    self.goal = goal
    self.limit = limit
    self.setup = setup
    statusLine =
      setup.diagnostics.isQuiet
      ? nil : StatusLine(descriptor: 2, environment: setup.environment)
  }

  /// Returns once the goal is met.
  ///
  /// - Throws: ``Failure`` at the time-out, `RedisError` where the first contact fails, `ExitCode`
  ///   where a signal ended it.
  func run(until signals: AsyncStream<String>) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.watch() }
      group.addTask { try await self.expire() }
      group.addTask {
        for await name in signals { throw ExitCode(128 + (SignalName.number(of: name) ?? 0)) }
      }
      if statusLine != nil {
        group.addTask {
          while true {
            self.show()
            try await ConnectionThread.shared.sleep(toTickWithin: .seconds(1))
          }
        }
      }
      defer { group.cancelAll() }
      do {
        try await group.next()
      } catch is Met {}
    }
  }

  private func expire() async throws {
    try await ConnectionThread.shared.sleep(for: limit)
    let bus = state.withLock(\.app).map { " on the bus \($0)" } ?? ""
    let what =
      "timed out after \(Span(milliseconds: limit.milliseconds).exact)\(bus): \(goal.text(progress))"
    guard !state.withLock(\.isAway) else {
      throw Failure(
        .timedOut, "\(what) when Redis was last reachable",
        remedy: "see 'paasbus doctor', or wait longer with --timeout")
    }
    throw Failure(
      .timedOut, what, remedy: "see 'paasbus list', or wait longer with --timeout")
  }

  private func watch() async throws {
    let connector = try await setup.connector()
    let app = try await setup.readableApp(by: connector)
    // If no instance has ever announced, none has to go, and the goal is met.
    if app == nil, goal.condition == .gone { throw Met() }
    var options = Watcher.Options.roster
    options.channel = setup.channel
    let hub = Hub(
      Watcher(app: app, connector: connector, options: options) { [setup] notice in
        switch notice {
        case .connectionLost(let error): setup.diagnostics.note(.connectionLost(error))
        case .connectionBack: setup.diagnostics.note(.connectionBack)
        case .waitingForBus, .watching, .cannotReap, .otherApp, .manyOtherApps: break
        }
      })
    try await hub.observe { state in
      if isMet(by: state) { throw Met() }
    }
    try Task.checkCancellation()
  }

  private func isMet(by hub: HubState) -> Bool {
    let progress = goal.progress(hub.roster)
    state.withLock {
      $0 = State(progress: progress, isAway: hub.connection.isLost, app: hub.app)
    }
    show()
    // Before the bus was read, it is not known whether any instance is there.
    return hub.roster.version > 0 && goal.isMet(by: progress)
  }

  private var progress: WaitGoal.Progress { state.withLock(\.progress) }

  private var waited: Duration { .now - begun }

  // MARK: What a person sees

  private func show() {
    let text =
      "\(goal.text(progress)), \(Span(milliseconds: waited.milliseconds)) of "
      + "\(Span(milliseconds: limit.milliseconds).exact)"
    _ = try? statusLine?.show { columns in text.cut(to: columns) }
  }

  var summary: String {
    "\(goal.text(progress)) after \(Span(milliseconds: waited.milliseconds))"
  }

  func result(isMet: Bool) -> [UInt8] {
    let progress = progress
    var text = JSONText()
    text.member("met", isMet)
    text.member("up", Int64(progress.up))
    text.member("stopping", Int64(progress.leaving))
    text.member("others", Int64(progress.others))
    text.member("waited", waited.milliseconds)
    return text.line
  }
}
