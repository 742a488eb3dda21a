/// Texts one after the other. Many of them share a piece of memory, since a piece for each text
/// would cost more time than all other work on it.
struct ReplyTexts: Sendable {
  /// The place of a text.
  struct Location: Sendable {
    fileprivate var piece: UInt32
    fileprivate var start: UInt32
    fileprivate var end: UInt32
  }

  /// The location of an empty text.
  static let nothing = Location(piece: 0, start: 0, end: 0)

  /// The largest size of a piece; only a single text may be larger.
  private static let pieceSize = 65_536

  private var full: [[UInt8]] = []
  private var last: [UInt8] = []
  /// How large the next piece will probably be, judged by the pieces before.
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

  /// Texts that are added from here on go into another piece, so that a holder of this piece does
  /// not keep them in memory.
  mutating func endPiece() {
    guard !last.isEmpty else { return }
    expect(last.count)
    full.append(last)
    last = []
  }

  /// Starts again without any text; holders of earlier texts keep them.
  mutating func release() {
    expect(last.count)
    (full, last) = ([], [])
  }

  /// Expects an eighth more, so that a piece that is a little larger does not have to be moved.
  private mutating func expect(_ size: Int) {
    expectedSize = Swift.min(size + size / 8, Self.pieceSize)
  }

  /// Hands out all pieces and starts again without any.
  mutating func take() -> ReplyTexts {
    defer { release() }
    return self
  }

  /// Adds all texts of another one, and returns by how many pieces the locations of those texts
  /// move.
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

  /// Whether exactly this text is at the place. It keeps no piece of memory alive.
  func holds(_ text: StaticString, at location: Location) -> Bool {
    text.withUTF8Buffer { text in
      let start = Int(location.start)
      guard Int(location.piece) == full.count, last.count - start >= text.count,
        text.count == Int(location.end) - start
      else { return self[location].elementsEqual(text) }
      return text.indices.allSatisfy { last[start + $0] == text[$0] }
    }
  }

  /// The size in bytes.
  var size: Int { full.reduce(last.count) { $0 + $1.count } }
}

extension ReplyTexts.Location {
  func moved(by pieces: UInt32) -> ReplyTexts.Location {
    var location = self
    location.piece = UInt32(clamping: Int(piece) + Int(pieces))
    return location
  }
}
