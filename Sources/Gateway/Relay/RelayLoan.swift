import NIOCore

/// What one gateway lends another, in pieces of which each is segments by itself. A value: the lender's ring goes on
/// while it is fetched.
struct RelayLoan: Sendable {
  /// In bytes.
  static let maxPiece = 1024 * 1024
  /// How long it is held without a piece that is taken.
  static let patience = Duration.seconds(10)

  /// The oldest first, since the newest are lent first: with them a borrower can do more where the rest does not come.
  private var rest: [(mark: RelayMark, segment: RelayRing.Segment)]
  private var pieces = 0
  private(set) var lastTaken: ContinuousClock.Instant

  init(_ segments: [RelayMark: RelayRing.Segment], now: ContinuousClock.Instant) {
    rest = segments.sorted { $0.key.number < $1.key.number }.map { ($0.key, $0.value) }
    lastTaken = now
  }

  /// The next piece.
  ///
  /// - Returns: nil where it is not the turn of this number.
  mutating func take(_ number: Int, now: ContinuousClock.Instant) -> (ByteBuffer, isLast: Bool)? {
    guard number == pieces else { return nil }
    (pieces, lastTaken) = (pieces + 1, now)
    var (chosen, size) = ([RelayMark: RelayRing.Segment](), 0)
    while let (mark, last) = rest.last {
      var segment = last
      guard size == 0 || size + segment.size <= Self.maxPiece else { break }
      rest.removeLast()
      if segment.size > Self.maxPiece, segment.messages.count > 1 {
        chosen[mark] = segment.takeBeginning(Self.maxPiece)
        rest.append((mark, segment))
        break
      }
      chosen[mark] = segment
      size += segment.size
    }
    return (RelaySegments.encode(chosen), rest.isEmpty)
  }
}
