import PaasbusRedis
import TestSupport
import Testing

@testable import Presence

/// A server, a network and an operator, by chance; and what an announcer does about them.
private struct World {
  typealias Instant = ContinuousClock.Instant

  /// What the server knows of the instance.
  private enum Record { case none, up, stopping, stopped }

  private static let lease = Duration.seconds(15)
  private static let serverStart: Int64 = 1_700_000_000_000

  var random: SeededGenerator
  private let start = ContinuousClock.now
  private var now: Instant
  private var state: AnnouncerState
  private let options: Announcer.Options

  private var record = Record.none
  private var isReachable = true
  private var refusesScripts = false
  /// Since when scripts run (again).
  private var scriptsSince: Instant
  private var leaseEnd: Instant?

  private(set) var published: [String] = []
  private(set) var notices: [String] = []
  private(set) var violations: [String] = []
  private var stopAsked: Instant?
  private var drainAsked: Instant?
  private var connectedSince: Instant?
  private var lastBeat: Instant?
  private var stepsAtOnce = 0

  init(seed: UInt64) {
    random = SeededGenerator(state: seed)
    (now, scriptsSince) = (start, start)
    var options = Announcer.Options()
    options.failsWhenRefused = random.chance(oneIn: 3)
    options.tellsShortRuns = random.chance(oneIn: 2)
    options.succeeds = random.chance(oneIn: 4)
    options.stopTimeout = .seconds(3)
    self.options = options
    let instance = Instance(app: "shop", name: "web.1", lease: Self.lease)
    state = AnnouncerState(instance, options: options, at: now)
    if options.succeeds { record = .up }
  }

  /// Runs to the end; nil where there is none in a long time.
  mutating func run() -> Result<Announcer.Ending, PresenceError>? {
    let lifetime = random.milliseconds(0...120_000)
    for _ in 0..<5000 {
      if stopAsked == nil, now - start > lifetime { askForStop() }
      let step = state.next(at: now)
      takeNotices()
      if case .finish(let result) = step {
        check(result)
        return result
      }
      carryOut(step)
    }
    violations.append("it does not end")
    return nil
  }

  // MARK: The operator

  private mutating func askForStop() {
    stopAsked = now
    state.stop(InstanceStop(reason: "SIGTERM"), at: now)
  }

  private mutating func ask() {
    if stopAsked == nil, random.chance(oneIn: 60) { askForStop() }
    if drainAsked == nil, random.chance(oneIn: 40) {
      drainAsked = now
      state.drain(reason: "SIGTERM")
    }
  }

  /// What changes in the world meanwhile.
  private mutating func turn() {
    if random.chance(oneIn: 15) { isReachable.toggle() }
    if random.chance(oneIn: 40) {
      refusesScripts.toggle()
      scriptsSince = now
    }
    if random.chance(oneIn: 60) { (record, leaseEnd) = (.none, nil) }
  }

  // MARK: Steps

  private mutating func carryOut(_ step: AnnouncerState.Step) {
    let began = now
    var duration = duration(of: step)
    // Somebody may ask for something in the middle of it.
    let half = duration * 0.5
    now = began + half
    ask()
    turn()
    if let patience = state.patience(for: step, at: now), half > patience {
      now += patience
      // What was written is carried out all the same.
      if random.chance(oneIn: 2), isReachable { _ = answer(step, asked: began) }
      return state.receive(.abandoned, of: step, at: now)
    }
    if case .rest = step, !isReachable { duration = half }
    now = began + duration
    stepsAtOnce = duration > .milliseconds(1) ? 0 : stepsAtOnce + 1
    if stepsAtOnce > 20 { violations.append("it turns in circles") }
    state.receive(answer(step, asked: began), of: step, at: now)
    if !state.isConnected { (connectedSince, lastBeat) = (nil, nil) }
  }

  private mutating func duration(of step: AnnouncerState.Step) -> Duration {
    switch step {
    case .wait(let duration): duration
    case .rest(let due): max(.zero, due - now)
    case .connect(let limit): min(random.milliseconds(0...2000), limit ?? .seconds(5))
    case .tellStop(_, _, _, let limit): min(random.milliseconds(0...1500), limit)
    default: random.milliseconds(0...300)
    }
  }

  private mutating func answer(
    _ step: AnnouncerState.Step, asked: Instant
  ) -> AnnouncerState.Outcome {
    if case .wait = step { return .done }
    guard isReachable else { return .failed(.redis(RedisError(.closed))) }
    switch step {
    case .connect: connectedSince = now
    case .rest, .list, .prepareEnd, .renewKeys, .wait, .finish: break
    case .register(let instance, _, let tellsReturn): return register(instance, tellsReturn, asked)
    case .beat(let commands): return beat(commands, asked)
    case .tellDraining:
      if refusesScripts { return Self.refusal }
      if drainAsked == nil { violations.append("it drains unasked") }
      if record == .up { publish("stopping", .stopping) }
    case .tellStop:
      if refusesScripts { return Self.refusal }
      if stopAsked == nil { violations.append("it stops unasked") }
      if record != .stopped { publish("stop", .stopped) }
      leaseEnd = nil
    }
    return .done
  }

  private static let refusal = AnnouncerState.Outcome.failed(
    .redis(RedisError(.reply(ErrorReply("NOPERM 'evalsha' is refused")))))

  private mutating func publish(_ word: String, _ record: Record) {
    published.append(word)
    self.record = record
  }

  private mutating func register(
    _ instance: Instance, _ tellsReturn: Bool, _ asked: Instant
  ) -> AnnouncerState.Outcome {
    if refusesScripts { return Self.refusal }
    var word = "silent"
    switch record {
    case .none:
      word = instance.started == nil ? "start" : "back"
      publish(word, .up)
    case .up where tellsReturn:
      word = "back"
      publish(word, .up)
    case .stopped:
      violations.append("it registers after its stop")
      word = "refused"
    case .up, .stopping: break
    }
    leaseEnd = now + Self.lease
    lastBeat = now
    let parts = [word, "1", "1", "\(serverTime)", "\(Self.serverStart)", "instances"]
    guard
      let outcome = try? Transitions.Outcome(
        .array(parts.map { .bytes(Array($0.utf8)[...]) }), wasKnown: random.chance(oneIn: 2))
    else { return .abandoned }
    return .registered(outcome, asked: asked)
  }

  private var serverTime: Int64 { Self.serverStart + (now - start).milliseconds }

  private mutating func beat(
    _ commands: [RedisCommand], _ asked: Instant
  ) -> AnnouncerState.Outcome {
    // Between two beats on one connection lie a third of the lease, and what else there was to tell.
    if let lastBeat, now - lastBeat > .seconds(9) {
      violations.append("no beat for \(now - lastBeat)")
    }
    if let drainAsked, record == .up, let connectedSince, lastBeat != nil, !refusesScripts,
      now - max(drainAsked, connectedSince, scriptsSince) > .seconds(9)
    {
      violations.append("it beats and does not say that it drains")
    }
    lastBeat = now
    let isKnown = record == .up || record == .stopping
    if isKnown { leaseEnd = now + Self.lease }
    let seconds = RedisValue.bytes(Array("\(serverTime / 1000)".utf8)[...])
    let micros = RedisValue.bytes(Array("\(serverTime % 1000 * 1000)".utf8)[...])
    return .beaten(
      [
        .array([seconds, micros]), .integer(isKnown ? 1 : 0), .integer(isKnown ? 1 : 0),
        .integer(isKnown ? 1 : 0),
      ], asked: asked)
  }

  // MARK: What must hold

  private mutating func takeNotices() {
    for notice in state.takeNotices() {
      let word =
        switch notice {
        case .announced: "announced"
        case .connectionLost(let error): error.isFinal ? "refused" : "lost"
        case .connectionBack: "back"
        }
      let last = notices.last { $0 != "announced" }
      // An outage may end in a refusal, and both are told.
      let isTrouble = word == "lost" || word == "refused"
      if isTrouble, last == "refused" || last == word {
        violations.append("it tells the same trouble twice")
      }
      if word == "back", last == nil || last == "back" {
        violations.append("it is back from nowhere")
      }
      if word == "announced", notices.contains("announced") {
        violations.append("it is announced twice")
      }
      notices.append(word)
    }
  }

  private mutating func check(_ result: Result<Announcer.Ending, PresenceError>) {
    if let stopAsked, now - stopAsked > options.stopTimeout + .milliseconds(100) {
      violations.append("it takes \(now - stopAsked) to end")
    }
    switch result {
    case .failure:
      if !options.failsWhenRefused || notices.contains("announced") {
        violations.append("it gives up")
      }
    case .success(.stopped):
      if record != .stopped, record != .none { violations.append("its stop is not on the bus") }
    case .success(.neverAnnounced), .success(.unanswered):
      if stopAsked == nil { violations.append("it ends unasked") }
      if notices.contains("announced") { violations.append("it was announced") }
      if record == .up, !options.succeeds, !published.isEmpty {
        violations.append("it leaves a start behind")
      }
    case .success(.undelivered): break
    }
    let stops = published.count { $0 == "stop" }
    let births = published.count { $0 == "start" || $0 == "back" }
    if stops > 1, births < stops { violations.append("it stops twice") }
  }
}

@Suite("What an announcer decides")
struct AnnouncerStateTests {
  @Test("in whatever order things happen, it holds its promises", arguments: 0..<40)
  func anyOrder(block: UInt64) {
    var endings: Set<String> = []
    for seed in block * 250..<block * 250 + 250 {
      var world = World(seed: seed)
      let result = world.run()
      #expect(world.violations.isEmpty, "seed \(seed): \(world.violations) \(world.published)")
      guard world.violations.isEmpty else { return }
      endings.insert(String(describing: result))
    }
    #expect(endings.count > 1)
  }
}
