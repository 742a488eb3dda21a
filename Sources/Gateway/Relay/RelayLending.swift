import PaasbusRedis

/// What a gateway lends others in one life. Lives on the event loop.
final class RelayLending {
  /// How long a piece waits to be fetched, in ms.
  private static let pieceLife = 30_000

  /// How long an offer holds.
  private static let offerLife = Duration.seconds(30)

  private let feed: RelayFeed
  /// Has something asked of Redis.
  private let ask: (RelayWork) -> Void
  /// The first marks of the gateways that were offered something.
  private var borrowers: [String: (mark: RelayMark, at: ContinuousClock.Instant)] = [:]
  private var loans: [String: RelayLoan] = [:]

  init(_ feed: RelayFeed, ask: @escaping (RelayWork) -> Void) {
    (self.feed, self.ask) = (feed, ask)
  }

  /// Another gateway lacks what was before its first mark, and perhaps only what came behind the end of its last life.
  func answer(_ request: String, before mark: RelayMark, end: RelayPosition?) {
    let ring = feed.memory.ring
    let segments = ring.before(mark)
    guard !segments.isEmpty else {
      return ask(.say(.nothing(request: request, lender: feed.name)))
    }
    borrowers[request] = (mark, .now)
    let isWhole = end.map {
      RelayAttachment.isWhole(since: .position($0), to: RelayPosition(mark, 0), in: ring)
    }
    ask(
      .say(
        .offer(
          request: request, lender: feed.name, size: segments.values.reduce(0) { $0 + $1.size },
          isWhole: isWhole ?? false, chain: ring.chain(before: mark))))
  }

  /// The other one takes a piece.
  func take(_ request: String, _ piece: Int) {
    if piece == 0, let offer = borrowers.removeValue(forKey: request) {
      loans[request] = RelayLoan(feed.memory.ring.before(offer.mark), now: .now)
    }
    ask(.lend(request: request, piece: piece))
  }

  /// Lays a piece down where it can be fetched, and says so.
  func lend(_ request: String, _ piece: Int, on commands: RedisConnection) async throws {
    guard let (bytes, isLast) = loans[request]?.take(piece, now: .now) else { return }
    let key = feed.configuration.keys.fill(request, by: feed.name, piece: piece)
    let reply = try await commands.pipeline([
      RedisCommand(arguments: [
        Array("SET".utf8), Array(key.utf8), Array(bytes.readableBytesView), Array("PX".utf8),
        Array("\(Self.pieceLife)".utf8),
      ])
    ]).first
    if case .error? = reply {
      // A server whose memory is full takes none, and nothing else is wrong with it.
      loans[request] = nil
      return ask(.say(.nothing(request: request, lender: feed.name)))
    }
    if isLast { loans[request] = nil }
    ask(.say(.piece(request: request, lender: feed.name, number: piece, isLast: isLast)))
  }

  /// Forgets offers and loans that are no longer fetched.
  func tick(_ now: ContinuousClock.Instant) {
    if !borrowers.isEmpty { borrowers = borrowers.filter { now - $0.value.at < Self.offerLife } }
    if !loans.isEmpty {
      loans = loans.filter { now - $0.value.lastTaken < RelayLoan.patience }
    }
  }
}
