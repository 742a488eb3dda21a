/// What a socket gets that attaches: what it missed, told as missing where it cannot be had.
struct RelayAttachment: Sendable, Equatable {
  /// Where a browser goes on.
  enum Since: Sendable, Equatable {
    /// Behind a message that it has.
    case position(RelayPosition)
    /// At a moment of the server's clock, in ms. What came within the second before may come again.
    case moment(Int64)
  }

  /// Why messages are missing.
  enum Gap: String, Sendable, CaseIterable {
    /// They were older, or more, than is remembered.
    case trimmed
    /// No gateway heard them.
    case unheard
    /// Redis was started anew, or lost its data.
    case reset
    /// A message was larger than what is passed on.
    case large
  }

  enum Item: Sendable, Equatable {
    case message(RelayPosition, RelayMessage)
    /// Messages may be missing up to a position.
    case gap(to: RelayPosition, Gap)
  }

  /// In their order.
  private(set) var items: [Item] = []

  /// Whether nothing is missing.
  var isRecovered: Bool {
    items.allSatisfy { if case .gap = $0 { false } else { true } }
  }

  /// Collects what a user gets between two positions.
  ///
  /// - Parameters:
  ///   - end: the gateway's own position; what comes behind it is pushed.
  init(of user: [UInt8], since: Since, to end: RelayPosition, in ring: RelayRing) {
    var walk = Walk(user: user, end: end, ring: ring)
    switch since {
    case .position(let position): walk.begin(behind: position)
    case .moment(let moment): walk.begin(at: moment)
    }
    items = walk.items
  }

  /// Whether all that lies between two positions is remembered, as far as it was heard at all.
  ///
  /// It is not where the position is ahead of the end, as one is that another gateway named.
  static func isWhole(since: Since, to end: RelayPosition, in ring: RelayRing) -> Bool {
    var walk = Walk(user: [], end: end, ring: ring)
    switch since {
    case .position(let position):
      let isAhead =
        position.mark.line == end.mark.line
        && (position.mark.number, position.offset) > (end.mark.number, end.offset)
      return !isAhead && walk.follow(from: position)
    case .moment(let moment):
      return walk.start(at: moment).map { walk.follow(from: $0) } ?? false
    }
  }
}

/// A way through the ring, from segment to segment.
private struct Walk {
  let user: [UInt8]
  let end: RelayPosition
  let ring: RelayRing
  /// Where the user's messages are.
  private let offsets: [RelayMark: [Int]]
  private(set) var items: [RelayAttachment.Item] = []
  /// How far the chain was followed.
  private var last: RelayMark?

  init(user: [UInt8], end: RelayPosition, ring: RelayRing) {
    (self.user, self.end, self.ring) = (user, end, ring)
    offsets = ring.offsets(of: user)
  }

  // MARK: Beginning

  mutating func begin(behind position: RelayPosition) {
    if ring.holds(position) {
      if follow(from: position) { return }
      return goOn(behind: position.mark)
    }
    goOn(behind: position.mark)
  }

  mutating func begin(at moment: Int64) {
    if let position = start(at: moment) {
      if follow(from: position) { return }
      return goOn(behind: position.mark)
    }
    guard let first = ring.marks(of: end.mark.line).first else { return }
    gap(to: first, .trimmed)
    if !follow(from: RelayPosition(first, 0)) { goOn(behind: first) }
  }

  /// The last mark before a moment; nil where that is not remembered.
  func start(at moment: Int64) -> RelayPosition? {
    ring.marks(of: end.mark.line).last { $0.number <= moment }.map { RelayPosition($0, 0) }
  }

  // MARK: Following

  /// Collects what lies behind a position along the chain.
  ///
  /// - Returns: whether the chain reaches the end.
  mutating func follow(from position: RelayPosition) -> Bool {
    guard ring.holds(position) else { return false }
    var (mark, offset) = (position.mark, position.offset)
    // What was lent may be a circle.
    for _ in ring.segments.indices {
      guard let segment = ring.segments[mark] else { return false }
      last = mark
      let isLast = mark == end.mark
      collect(segment, mark, behind: offset, upTo: isLast ? end.offset : segment.heard)
      if isLast { return true }
      guard let next = segment.next, next.line != mark.line || next.number > mark.number else {
        return false
      }
      (mark, offset) = (next, 0)
    }
    return false
  }

  private mutating func collect(
    _ segment: RelayRing.Segment, _ mark: RelayMark, behind offset: Int, upTo last: Int
  ) {
    guard !user.isEmpty else { return }
    var offset = offset
    if let dropped = segment.dropped[user], dropped > offset {
      items.append(.gap(to: RelayPosition(mark, dropped), .trimmed))
      offset = dropped
    }
    for number in offsets[mark] ?? [] where number > offset && number <= last {
      guard let message = segment.messages[number], message.user == user else { continue }
      items.append(.message(RelayPosition(mark, number), message))
    }
  }

  // MARK: Breaks

  /// What is remembered although the chain is broken: later marks of the same line, then the line of the end, each
  /// behind a gap. Lines have no order among each other, so those between are left out.
  private mutating func goOn(behind begin: RelayMark) {
    let broken = last ?? begin
    for next in ring.marks(of: broken.line)
    where next.number > (last?.line == broken.line ? last?.number ?? 0 : broken.number) {
      gap(to: next, isForgotten(broken) ? .trimmed : .unheard)
      if follow(from: RelayPosition(next, 0)) { return }
    }
    guard last?.line != end.mark.line else { return }
    for next in ring.marks(of: end.mark.line)
    where last.map({ $0.line != end.mark.line || next.number > $0.number }) ?? true {
      gap(to: next, .reset)
      if follow(from: RelayPosition(next, 0)) { return }
    }
  }

  /// Whether a mark is one that was heard, probably, and is too old to be remembered.
  private func isForgotten(_ mark: RelayMark) -> Bool {
    ring.segments[mark] == nil && ring.marks(of: mark.line).allSatisfy { $0.number > mark.number }
  }

  private mutating func gap(to mark: RelayMark, _ why: RelayAttachment.Gap) {
    items.append(.gap(to: RelayPosition(mark, 0), why))
  }
}
