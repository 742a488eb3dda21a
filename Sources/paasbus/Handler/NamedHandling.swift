import PaasbusRedis
import Presence
import Synchronization
import Views

/// The handling of a handler with a name: of several watches with that name, the owner handles the events and the
/// others stand by; its position is kept on the bus.
///
/// An event counts as handled once the position has moved past it. So an event whose handler ended while its owner
/// did not live to move the position is handled again by the next one.
final class NamedHandling: EventHandling {
  /// The events of a page could not all be handled, so it has to be read again.
  private struct Interrupted: Error {
    var error: RedisError
  }

  private struct State {
    var app: String?
    var tenure: HandlerTenure?
    /// Whether the user was told that this watch is the owner or stands by.
    var told: Bool?
    /// Whether the user was told that the bus cannot be asked.
    var toldError = false
    var progress = WatchStatus.Handling()
  }

  /// Turns are at least so far apart, however much is published.
  private static let turnInterval = Duration.milliseconds(100)

  private let name: String
  private let attempts: HandlerAttempts
  private let filter: WatchFilter
  private let connector: RedisConnector
  private let diagnostics: Diagnostics
  private let state = Mutex(State())

  init(
    _ name: String, _ attempts: HandlerAttempts, filter: WatchFilter, connector: RedisConnector,
    _ diagnostics: Diagnostics
  ) {
    self.name = name
    self.attempts = attempts
    self.filter = filter
    self.connector = connector
    self.diagnostics = diagnostics
  }

  var progress: WatchStatus.Handling { state.withLock(\.progress) }

  // MARK: The beginning

  func begin(app: String, since: Watcher.Since?) async throws {
    var start = HandlerOwnership.Start.now
    if let since {
      let first = try await connector.routed(to: Keys(app: app).bus).withConnection {
        try await HistoryFollower.begin(app: app, since: since, on: $0)
      }
      start = HandlerOwnership.Start(first.position)
    }
    let tenure = tenure(app, start)
    state.withLock { ($0.app, $0.tenure) = (app, tenure) }
    _ = try await keep(tenure)
  }

  func begin(withNew app: String) {
    let tenure = tenure(app, .firstEvent)
    state.withLock { state in
      if state.tenure == nil { (state.app, state.tenure) = (app, tenure) }
    }
  }

  private func tenure(_ app: String, _ start: HandlerOwnership.Start) -> HandlerTenure {
    HandlerTenure(name, app: app, connector: connector, start: start) { [weak self] error in
      self?.tell(error)
    }
  }

  // MARK: Turns

  func run(beside hub: Hub) async {
    let (looks, look) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in hub.changes() { look.yield() } }
      group.addTask { [connector] in
        while !Task.isCancelled {
          try? await connector.thread.sleep(toTickWithin: HandlerTenure.interval)
          look.yield()
        }
      }
      await takeTurns(looks) { look.yield() }
      group.cancelAll()
    }
    await state.withLock(\.tenure)?.release()
  }

  private func takeTurns(_ looks: AsyncStream<Void>, again: () -> Void) async {
    var follower: HistoryFollower?
    var backoff = Backoff()
    var last = ContinuousClock.now - Self.turnInterval
    for await _ in looks {
      try? await connector.thread.sleep(for: max(.zero, last + Self.turnInterval - .now))
      last = .now
      guard let (app, tenure) = state.withLock({ state in state.tenure.map { (state.app, $0) } }),
        let app
      else { continue }
      do {
        let wasOwner = tenure.isOwner
        guard try await keep(tenure) else {
          follower = nil
          continue
        }
        var own = wasOwner ? follower : nil
        if own == nil { own = Self.follower(app, behind: tenure.record?.position) }
        guard var next = own else { continue }
        defer { follower = next }
        try await tenure.client.withConnection { connection in
          try await next.catchUp(on: connection) { try await handle($0, tenure) }
        }
        backoff.reset()
        state.withLock { $0.toldError = false }
      } catch is HandlerTenure.Lost {
        follower = nil
        tell(isOwner: false)
        again()
      } catch {
        if error is Interrupted { follower = nil }
        if let error = (error as? Interrupted)?.error ?? error as? RedisError { tell(error) }
        try? await connector.thread.sleep(for: backoff.next())
        again()
      }
    }
  }

  private static func follower(_ app: String, behind position: Position?) -> HistoryFollower {
    position.map { HistoryFollower(app: app, after: $0) } ?? HistoryFollower(app: app)
  }

  private func keep(_ tenure: HandlerTenure) async throws -> Bool {
    let isOwner = try await tenure.keep()
    tell(isOwner: isOwner)
    state.withLock { $0.progress.handled = tenure.record?.position }
    return isOwner
  }

  private func tell(isOwner: Bool) {
    let isNews = state.withLock { state in
      defer { (state.told, state.progress.standsBy) = (isOwner, !isOwner) }
      return state.told != isOwner
    }
    if isNews { diagnostics.note(isOwner ? .runsHandler(name) : .handlerStandsBy(name)) }
  }

  /// An outage is told by the watch; anything else keeps only the handler.
  private func tell(_ error: RedisError) {
    guard error.kind != .unreachable else { return }
    let isNews = state.withLock { state in
      defer { state.toldError = true }
      return !state.toldError
    }
    if isNews { diagnostics.note(.handlerWaits(name, error)) }
  }

  // MARK: Events

  private func handle(_ page: [WatchOutput], _ tenure: HandlerTenure) async throws {
    for output in page {
      try Task.checkCancellation()
      switch output {
      case .event(let event, _):
        if filter.passes(output) { try await handle(event, tenure) }
        state.withLock { $0.progress.handled = event.position }
      case .gap(let from, let to): Diagnostics.tell(.handlerGap(count: to - from + 1))
      case .reset: Diagnostics.tell(.handlerReset)
      case .snapshot, .foreign, .message, .retracted: break
      }
    }
    // Past what was not asked for.
    let last = page.reversed().lazy.compactMap { output -> Position? in
      if case .event(let event, _) = output { event.position } else { nil }
    }.first
    if let last, last != tenure.record?.position { try await tenure.move(to: last) }
  }

  private func handle(_ event: Event, _ tenure: HandlerTenure) async throws {
    let before = tenure.record?.position
    var failures = tenure.record?.tries ?? 0
    while true {
      try await awaitOwnership(tenure)
      let isDone = try await tenure.whileOwner { [attempts, failures] in
        try await attempts.run(event, after: failures)
      }
      if isDone { break }
      failures += 1
      state.withLock { $0.progress.failures += 1 }
      guard attempts.mayTryAgain(after: failures) else { break }
      try await tenure.move(to: before, tries: failures)
      let pause = HandlerAttempts.pause(after: failures)
      try await tenure.whileOwner { [connector] in try await connector.thread.sleep(for: pause) }
    }
    try await tenure.move(to: event.position)
  }

  /// Returns if no other watch can be the owner now. While Redis cannot be asked, that is so until our time is over.
  private func awaitOwnership(_ tenure: HandlerTenure) async throws {
    do {
      guard try await tenure.keep() else { throw HandlerTenure.Lost() }
    } catch let error as RedisError {
      guard tenure.isOwnerStill else { throw Interrupted(error: error) }
    }
  }
}
