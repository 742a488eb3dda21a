import Crypto
import NIOCore
import PaasbusRedis
import Synchronization

/// Everything that a gateway of the relay hears, under names that all gateways share, and with what it missed.
///
/// Lives on the thread of the connections. One life is a subscribed connection and one for commands; whatever
/// happens to either of them ends both, and another life begins.
final class RelayFeed: Sendable {
  struct Configuration: Sendable {
    var keys: RelayKeys
    var channel: RelayChannel
    var bounds = RelayRing.Bounds()
    /// The largest message that is passed on, in bytes.
    var maxMessage = 128 * 1024
  }

  /// What a listener gets. Called on the event loop.
  enum News: Sendable {
    case items([RelayAttachment.Item])
    /// There has been no Redis for too long.
    case lost
  }

  enum Notice: Sendable {
    case connectionLost(RedisError)
    case connectionBack
  }

  typealias Fault = RelayFault

  /// One who attached.
  final class Listener {
    let user: [UInt8]
    let receive: (News) -> Void
    /// What was handed over last; nil while it is about to attach.
    fileprivate(set) var position: RelayPosition?

    fileprivate init(_ user: [UInt8], _ receive: @escaping (News) -> Void) {
      (self.user, self.receive) = (user, receive)
    }
  }

  private struct State {
    var memory: RelayMemory
    var listeners: [[UInt8]: [ObjectIdentifier: Listener]] = [:]
    var life: RelayLife?
    /// Whether there has been a life.
    var hasContact = false
    /// When anything was last heard, unless there is a life that is ready.
    var lostSince: ContinuousClock.Instant? = .now
    /// Whether it was told that there is no connection.
    var isLossTold = false
    /// Those who wait for a mark that is published after they asked, by its author.
    var waiting: [String: EventLoopPromise<Void>] = [:]
    /// The mark that is about to be asked for, which others can wait for as well.
    var nextMark: String?
    var gaps: [RelayAttachment.Gap: Int64] = [:]
    var messages: Int64 = 0
    var fills: Int64 = 0
  }

  /// Listeners are held so long without Redis.
  private static let maxOutage = Duration.seconds(5)
  /// How long one who attaches waits for a mark.
  static let maxMarkWait = Duration.seconds(3)

  private static let markDelay = TimeAmount.milliseconds(20)

  let configuration: Configuration
  let connector: RedisConnector
  let name = RelayFeed.randomWord(10)
  private let notify: @Sendable (Notice) -> Void
  private let state: NIOLoopBoundBox<State>

  init(
    _ configuration: Configuration, connector: RedisConnector,
    notify: @escaping @Sendable (Notice) -> Void = { _ in }
  ) {
    (self.configuration, self.connector, self.notify) = (configuration, connector, notify)
    state = NIOLoopBoundBox.makeBoxSendingValue(
      State(memory: RelayMemory(configuration.bounds)), eventLoop: connector.thread.loop)
  }

  static func randomWord(_ length: Int) -> String {
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    return String((0..<length).compactMap { _ in letters.randomElement() })
  }

  // MARK: Lives

  /// Hears until the task is cancelled, then leaves what it remembers to those who come later. To be run on the
  /// thread of the connections.
  ///
  /// - Throws: `RedisError` when the first contact fails, ``Fault``.
  func run() async throws {
    var backoff = Backoff()
    var number = 0
    while !Task.isCancelled {
      number += 1
      let begun = ContinuousClock.now
      let life = RelayLife(self, number: number)
      do {
        try await life.run()
      } catch let error as RedisError where state.value.hasContact {
        end(life, error)
        backoff.connectionEnded(since: begun)
        try? await connector.thread.sleep(for: backoff.next())
      } catch is CancellationError {
        break
      }
    }
    // What comes now is not to be cancelled.
    await Task(executorPreference: connector.thread.executor) { await self.handOver() }.value
    state.value.life = nil
  }

  private func end(_ life: RelayLife, _ error: RedisError) {
    state.value.life = nil
    state.value.memory.endLife()
    if !state.value.isLossTold { notify(.connectionLost(error)) }
    state.value.isLossTold = true
    guard state.value.lostSince == nil else { return }
    state.value.lostSince = life.lastHeard
    let left = Self.maxOutage - (.now - life.lastHeard)
    connector.thread.loop.scheduleTask(in: TimeAmount(max(.zero, left))) { self.checkOutage() }
  }

  private func checkOutage() {
    guard let since = state.value.lostSince, ContinuousClock.now - since >= Self.maxOutage else {
      return
    }
    for listener in listeners { listener.receive(.lost) }
    state.value.listeners = [:]
  }

  private var listeners: [Listener] { state.value.listeners.values.flatMap(\.values) }

  // MARK: What a life does

  var memory: RelayMemory { state.value.memory }

  /// Changes what is remembered; on the event loop.
  func change<Result>(_ body: (inout RelayMemory) -> Result) -> Result {
    body(&state.value.memory)
  }

  func begin(_ life: RelayLife) {
    state.value.life = life
    state.value.hasContact = true
  }

  func countFill() { state.value.fills += 1 }

  /// What was missed has been filled in; those who were held go on.
  func becomeReady() {
    guard !isReady else { return }
    if state.value.isLossTold { notify(.connectionBack) }
    state.value.isLossTold = false
    let before = state.value.memory.end
    state.value.memory.becomeReady()
    state.value.lostSince = nil
    guard let position = state.value.memory.position else { return }
    if let before {
      for listener in listeners where listener.position != nil {
        catchUp(listener, since: .position(before), to: position)
      }
    }
  }

  /// A mark was heard, for which some may wait.
  func markArrived(_ author: String) { state.value.waiting.removeValue(forKey: author)?.succeed() }

  func deliver(_ message: RelayMessage, at position: RelayPosition) {
    state.value.messages += 1
    guard state.value.memory.isReady else { return }
    for listener in (state.value.listeners[message.user] ?? [:]).values
    where listener.position != nil {
      listener.position = position
      push([item(position, message)], to: listener)
    }
  }

  private func item(_ position: RelayPosition, _ message: RelayMessage) -> RelayAttachment.Item {
    message.isPassedOn(configuration.maxMessage)
      ? .message(position, message) : .gap(to: position, .large)
  }

  private func push(_ items: [RelayAttachment.Item], to listener: Listener) {
    guard !items.isEmpty else { return }
    countGaps(items)
    listener.receive(.items(items))
  }

  @discardableResult
  private func countGaps(_ items: [RelayAttachment.Item]) -> Int {
    var count = 0
    for case .gap(_, let why) in items {
      state.value.gaps[why, default: 0] += 1
      count += 1
    }
    return count
  }

  private func catchUp(
    _ listener: Listener, since: RelayAttachment.Since, to position: RelayPosition
  ) {
    listener.position = position
    push(missed(of: listener.user, since: since, to: position), to: listener)
  }

  private func missed(
    of user: [UInt8], since: RelayAttachment.Since, to position: RelayPosition
  ) -> [RelayAttachment.Item] {
    RelayAttachment(of: user, since: since, to: position, in: memory.ring).items.map { item in
      if case .message(let position, let message) = item {
        self.item(position, message)
      } else {
        item
      }
    }
  }

  // MARK: Attaching

  /// Whether sockets can attach.
  var isReady: Bool { state.value.memory.isReady }

  struct Attached {
    var listener: Listener
    /// Where it begins.
    var position: RelayPosition
    /// Whether nothing is missing; nil where it asked for nothing.
    var isRecovered: Bool?
    var items: [RelayAttachment.Item]
  }

  /// Attaches one who listens for a user. What it missed is returned, and what comes from then on is pushed.
  ///
  /// - Returns: nil where there is no Redis now.
  func attach(
    _ user: [UInt8], since: RelayAttachment.Since?, receive: @escaping (News) -> Void
  ) async -> Attached? {
    guard isReady else { return nil }
    if let since, let position = memory.position,
      !RelayAttachment.isWhole(since: since, to: position, in: memory.ring)
    {
      // Others may know more, or this gateway may be behind: all that was before a new mark has been heard then.
      guard await awaitMark() else { return nil }
    }
    guard isReady, let position = memory.position else { return nil }
    let listener = Listener(user, receive)
    listener.position = position
    state.value.listeners[user, default: [:]][ObjectIdentifier(listener)] = listener
    guard let since else {
      return Attached(listener: listener, position: position, isRecovered: nil, items: [])
    }
    let items = missed(of: user, since: since, to: position)
    let gaps = countGaps(items)
    return Attached(
      listener: listener, position: position, isRecovered: gaps == 0, items: items)
  }

  func detach(_ listener: Listener) {
    state.value.listeners[listener.user]?[ObjectIdentifier(listener)] = nil
    if state.value.listeners[listener.user]?.isEmpty == true {
      state.value.listeners[listener.user] = nil
    }
  }

  /// Waits for a mark that is published from here on.
  private func awaitMark() async -> Bool {
    let loop = connector.thread.loop
    if let author = state.value.nextMark, let promise = state.value.waiting[author] {
      return (try? await promise.futureResult.get()) != nil
    }
    let author = "\(name)-\(Self.randomWord(6))"
    let promise = loop.makePromise(of: Void.self)
    state.value.waiting[author] = promise
    state.value.nextMark = author
    // A moment later, so that many who come at once cause one mark.
    loop.scheduleTask(in: Self.markDelay) {
      self.state.value.nextMark = nil
      self.state.value.life?.requestMark(by: author)
    }
    loop.scheduleTask(in: TimeAmount(Self.maxMarkWait)) {
      self.state.value.waiting.removeValue(forKey: author)?.fail(RedisError(.closed))
    }
    return (try? await promise.futureResult.get()) != nil
  }

  // MARK: The end

  private func handOver() async {
    guard state.value.memory.isReady, let life = state.value.life else { return }
    await life.handOver(state.value.memory.ring)
    state.value.memory.endLife()
  }

  /// Figures for metrics.
  var figures:
    (users: Int, ringSize: Int, messages: Int64, fills: Int64, gaps: [RelayAttachment.Gap: Int64])
  {
    let state = state.value
    return (state.listeners.count, state.memory.ring.size, state.messages, state.fills, state.gaps)
  }
}

/// Why the relay cannot run at all.
package enum RelayFault: Error, Sendable, Hashable {
  /// Gateways of another version, or for another form of channels, use the same clock.
  case otherGateways
  /// The order of a cluster's nodes differs.
  case cluster
}
