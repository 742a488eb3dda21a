/// How a gateway gets what it lacks from others: it asks, takes the best offer, and the next one where that one does
/// not come or does not suffice. A value: what came in, and what to do.
struct RelayFilling: Sendable {
  enum Action: Sendable, Equatable {
    case take(lender: String)
    /// A piece is there.
    case fetch(lender: String, piece: Int)
    /// All pieces of an offer have come.
    case unite
    /// Nothing more can be had.
    case finish
  }

  private struct Offer: Sendable {
    var lender: String
    var size: Int
    var isWhole: Bool
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
  /// Whose offer was taken.
  private(set) var taken: String?
  private var pieces = 0
  private var lastPiece: Int?
  private var progress: ContinuousClock.Instant
  private var firstOffer: ContinuousClock.Instant?

  init(request: String, others: Int, now: ContinuousClock.Instant) {
    (self.request, self.others, progress) = (request, others, now)
  }

  /// - Parameter talk: what was heard on the channel.
  mutating func hear(_ talk: RelayTalk, now: ContinuousClock.Instant) -> [Action] {
    switch talk {
    case .offer(request, let lender, let size, let isWhole):
      guard answers.insert(lender).inserted else { return [] }
      offers.append(Offer(lender: lender, size: size, isWhole: isWhole))
      if firstOffer == nil { firstOffer = now }
    case .nothing(request, let lender): answers.insert(lender)
    case .piece(request, taken, let number, let isLast):
      progress = now
      if isLast { lastPiece = number }
      return taken.map { [.fetch(lender: $0, piece: number)] } ?? []
    default: return []
    }
    progress = now
    return answers.count >= others ? choose(now) : []
  }

  /// A piece has been fetched.
  mutating func received(now: ContinuousClock.Instant) -> [Action] {
    progress = now
    pieces += 1
    guard let lastPiece, pieces > lastPiece else { return [] }
    return [.unite]
  }

  /// What was lent has been united, and something is still lacking.
  mutating func goOn(now: ContinuousClock.Instant) -> [Action] {
    taken = nil
    return choose(now)
  }

  /// Time has passed.
  mutating func tick(_ now: ContinuousClock.Instant) -> [Action] {
    if taken == nil, let firstOffer, now - firstOffer >= Self.grace { return choose(now) }
    guard now - progress >= Self.patience else { return [] }
    taken = nil
    return choose(now)
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
    (taken, pieces, lastPiece, progress) = (offer.lender, 0, nil, now)
    return [.take(lender: offer.lender)]
  }
}
