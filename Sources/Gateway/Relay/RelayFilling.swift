/// How a gateway gets what it lacks from others: it asks, takes the best offer, and the next one where that one does
/// not come or does not suffice. A value: what came in, and what to do.
struct RelayFilling: Sendable {
  enum Action: Sendable, Equatable {
    case take(lender: String, piece: Int)
    /// A piece is there.
    case fetch(lender: String, piece: Int)
    /// Nothing more can be had.
    case finish
  }

  private struct Offer: Sendable {
    var lender: String
    var size: Int
    var isWhole: Bool
    var chain: RelayMark?
  }

  /// How long one waits without any progress.
  static let patience = Duration.seconds(2)
  /// How long one waits for a better offer once there is one.
  static let grace = Duration.milliseconds(200)

  let request: String
  /// How many others were subscribed.
  private let others: Int
  private var answers: Set<String> = []
  private var offers: [Offer] = []
  /// Whether one that offered something did not give all of it. It may have ended, and left what it knew.
  private(set) var hasLostLender = false
  /// Whose offer was taken.
  private(set) var taken: String?
  /// The piece that was taken or fetched last, and whether it is the offer's last one.
  private var piece = 0
  private var isLastPiece = false
  private var progress: ContinuousClock.Instant
  private var firstOffer: ContinuousClock.Instant?

  init(request: String, others: Int, now: ContinuousClock.Instant) {
    (self.request, self.others, progress) = (request, others, now)
  }

  /// - Parameter talk: what was heard on the channel.
  mutating func hear(_ talk: RelayTalk, now: ContinuousClock.Instant) -> [Action] {
    switch talk {
    case .offer(request, let lender, let size, let isWhole, let chain):
      guard answers.insert(lender).inserted else { return [] }
      offers.append(Offer(lender: lender, size: size, isWhole: isWhole, chain: chain))
      if firstOffer == nil { firstOffer = now }
    case .nothing(request, let lender):
      answers.insert(lender)
      // It cannot give what it offered.
      if lender == taken { return giveUp(now: now) }
    case .piece(request, taken, piece, let isLast):
      (progress, isLastPiece) = (now, isLast)
      return taken.map { [.fetch(lender: $0, piece: piece)] } ?? []
    default: return []
    }
    progress = now
    return answers.count >= others ? choose(now) : []
  }

  /// A piece has been fetched and united with what is known.
  ///
  /// - Parameters:
  ///   - isEnough: whether nothing is lacking any longer.
  ///   - isKnown: whether all is known from a mark on.
  mutating func received(
    now: ContinuousClock.Instant, isEnough: Bool, isKnown: (RelayMark) -> Bool
  ) -> [Action] {
    guard let lender = taken else { return [] }
    progress = now
    if isEnough { return [.finish] }
    guard isLastPiece else {
      piece += 1
      return [.take(lender: lender, piece: piece)]
    }
    taken = nil
    offers.removeAll { $0.chain.map(isKnown) ?? false }
    return choose(now)
  }

  /// What was taken does not come.
  mutating func giveUp(now: ContinuousClock.Instant) -> [Action] {
    if taken != nil { hasLostLender = true }
    taken = nil
    return choose(now)
  }

  /// Time has passed.
  mutating func tick(_ now: ContinuousClock.Instant) -> [Action] {
    if taken == nil, let firstOffer, now - firstOffer >= Self.grace { return choose(now) }
    return now - progress >= Self.patience ? giveUp(now: now) : []
  }

  private mutating func choose(_ now: ContinuousClock.Instant) -> [Action] {
    guard taken == nil else { return [] }
    let best = offers.indices.max {
      (offers[$0].isWhole ? 1 : 0, offers[$0].size) < (offers[$1].isWhole ? 1 : 0, offers[$1].size)
    }
    guard let best else {
      return answers.count >= others || now - progress >= Self.patience ? [.finish] : []
    }
    let offer = offers.remove(at: best)
    (taken, piece, isLastPiece, progress) = (offer.lender, 0, false, now)
    return [.take(lender: offer.lender, piece: 0)]
  }
}
