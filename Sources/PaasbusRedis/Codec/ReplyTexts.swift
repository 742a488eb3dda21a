/// Texts one behind the other: many share a piece of memory, since a piece for each would cost more
/// than everything else that is done with it.
struct ReplyTexts: Sendable {
  /// Where a text stands.
  struct Location: Sendable {
    fileprivate var piece: UInt32
    fileprivate var start: UInt32
    fileprivate var end: UInt32
  }

  /// A piece gets no larger; one text alone may be.
  private static let pieceSize = 65_536

  private var full: [[UInt8]] = []
  private var last: [UInt8] = []
  /// How large the next piece will be, as far as the ones before tell.
  private var expectedSize = 0

  mutating func add(_ text: some Collection<UInt8>) -> Location {
    if last.count + text.count > Self.pieceSize { endPiece() }
    if last.isEmpty { last.reserveCapacity(Swift.max(expectedSize, text.count)) }
    let start = last.count
    last.append(contentsOf: text)
    return Location(
      piece: UInt32(clamping: full.count), start: UInt32(clamping: start),
      end: UInt32(clamping: last.count))
  }

  /// What comes from here on stands in another piece, so that whoever holds this one holds no more.
  mutating func endPiece() {
    guard !last.isEmpty else { return }
    expect(last.count)
    full.append(last)
    last = []
  }

  /// Begins anew; whoever has a text of before keeps it.
  mutating func release() {
    expect(last.count)
    (full, last) = ([], [])
  }

  /// With an eighth more, so that one a little larger has not to be moved.
  private mutating func expect(_ size: Int) {
    expectedSize = Swift.min(size + size / 8, Self.pieceSize)
  }

  /// Hands out all pieces and begins anew.
  mutating func take() -> ReplyTexts {
    defer { release() }
    return self
  }

  /// Adds all of the other's; its locations move by what is returned.
  mutating func append(_ other: ReplyTexts) -> UInt32 {
    endPiece()
    let pieces = UInt32(clamping: full.count)
    full += other.full
    last = other.last
    return pieces
  }

  subscript(location: Location) -> ArraySlice<UInt8> {
    let piece = full.at(Int(location.piece)) ?? last
    return piece[(Int(location.start)..<Int(location.end)).clamped(to: piece.indices)]
  }

  /// Whether it is just this text that stands there; takes hold of nothing.
  func holds(_ text: StaticString, at location: Location) -> Bool {
    text.withUTF8Buffer { text in
      let start = Int(location.start)
      guard Int(location.piece) == full.count, last.count - start >= text.count,
        text.count == Int(location.end) - start
      else { return self[location].elementsEqual(text) }
      return text.indices.allSatisfy { last[start + $0] == text[$0] }
    }
  }

  /// In bytes.
  var size: Int { full.reduce(last.count) { $0 + $1.count } }
}

extension ReplyTexts.Location {
  func moved(by pieces: UInt32) -> ReplyTexts.Location {
    var location = self
    location.piece = UInt32(clamping: Int(piece) + Int(pieces))
    return location
  }
}
