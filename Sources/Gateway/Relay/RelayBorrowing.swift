import NIOCore
import PaasbusRedis

/// How a gateway gets from others what it missed. Lives on the event loop.
final class RelayBorrowing {
  private let feed: RelayFeed
  /// How many other gateways were there at the beginning.
  private let others: Int
  /// How far the life before had heard.
  private let lastEnd: RelayPosition?
  private let ask: (RelayWork) -> Void
  private var filling: RelayFilling?
  /// The own first mark, where another gateway came while others were asked.
  private var newcomer: RelayMark?
  /// Whether it was looked again what gateways left that ended.
  private var hasLookedAgain = false

  init(
    _ feed: RelayFeed, others: Int, lastEnd: RelayPosition?, ask: @escaping (RelayWork) -> Void
  ) {
    (self.feed, self.others, self.lastEnd, self.ask) = (feed, others, lastEnd, ask)
  }

  /// Asks for what was before a life's own first mark.
  func begin(before mark: RelayMark) {
    guard others > 0 || feed.isReady else { return feed.becomeReady() }
    let request = "\(feed.name)-\(RelayFeed.randomWord(6))"
    filling = RelayFilling(request: request, others: feed.isReady ? 1 : others, now: .now)
    ask(.say(.need(request: request, before: mark, end: lastEnd)))
  }

  /// Another gateway asks, so it has come anew, and may have what was lacking.
  func otherCame(before mark: RelayMark?) {
    guard let mark else { return }
    if filling != nil { newcomer = mark } else if feed.isReady, isLacking { begin(before: mark) }
  }

  func hear(_ talk: RelayTalk) { carryOut(filling?.hear(talk, now: .now)) }

  func tick(_ now: ContinuousClock.Instant) { carryOut(filling?.tick(now)) }

  /// Fetches a piece.
  func fetch(_ lender: String, _ piece: Int, on commands: RedisConnection) async throws {
    guard let request = filling?.request else { return }
    let key = feed.configuration.keys.fill(request, by: lender, piece: piece)
    let replies = try await commands.pipeline([
      RedisCommand("GET", key), RedisCommand("DEL", key),
    ])
    guard filling?.request == request, filling?.taken == lender else { return }
    guard let bytes = replies.first?.bytes,
      let segments = try? RelaySegments.decode(ByteBuffer(bytes: bytes))
    else { return carryOut(filling?.giveUp(now: .now)) }
    feed.change { $0.unite(segments) }
    if piece == 0 { feed.countFill() }
    let isEnough = lastEnd.map { isRemembered($0) && !isLacking } ?? false
    carryOut(
      filling?.received(now: .now, isEnough: isEnough) { mark in
        self.isWhole(since: RelayPosition(mark, 0))
      })
  }

  private func carryOut(_ actions: [RelayFilling.Action]?) {
    for action in actions ?? [] {
      switch action {
      case .take(let lender, let piece):
        ask(.say(.take(request: filling?.request ?? "", lender: lender, piece: piece)))
      case .fetch(let lender, let piece): ask(.fetch(lender: lender, piece: piece))
      case .finish: finish()
      }
    }
  }

  /// The gateways that were asked have nothing more.
  private func finish() {
    let hasLostLender = filling?.hasLostLender ?? false
    filling = nil
    if isLacking, let newcomer {
      self.newcomer = nil
      return begin(before: newcomer)
    }
    guard hasLostLender, !hasLookedAgain else { return feed.becomeReady() }
    hasLookedAgain = true
    ask(.lookAgain)
  }

  /// What gateways left that ended has been read again.
  func hasLooked() { feed.becomeReady() }

  /// Whether something between the last life and this one is not known. What is too old to be remembered is not
  /// lacking.
  private var isLacking: Bool { lastEnd.map { isRemembered($0) && !isWhole(since: $0) } ?? false }

  private func isRemembered(_ position: RelayPosition) -> Bool {
    feed.memory.ring.segments[position.mark] != nil
  }

  private func isWhole(since position: RelayPosition) -> Bool {
    feed.memory.position.map {
      RelayAttachment.isWhole(since: .position(position), to: $0, in: feed.memory.ring)
    } ?? false
  }
}
