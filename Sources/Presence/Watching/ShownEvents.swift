/// Digests of the events of one epoch that were shown, by their numbers. With them, an event is
/// recognised when it comes again, and so is a history that has another event in its place.
///
/// The numbers of an epoch have no gaps, so an array is enough. The oldest entries are dropped.
struct ShownEvents: Sendable {
  /// How many digests are kept: more than the messages that can wait for us in the mailbox and in
  /// the buffers of two TCP sockets. Redis itself may hold back more messages for us; the oldest of
  /// those may be too old for this memory.
  static let memory = 131_072
  /// Dropping entries moves all the others, so it is not done for each entry.
  private static let maxSurplus = memory / 4
  private static let unknown = 0

  private var epoch: Int64 = 0
  /// The number of the first digest.
  private var first: Int64 = 1
  private var digests: [Int] = []

  /// Stands for the bytes of an event; differs from one process to the next.
  static func digest(_ bytes: ArraySlice<UInt8>) -> Int {
    // All bytes are hashed at once, since the array's own `hash(into:)` takes one byte after the
    // other.
    var hasher = Hasher()
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    let hash = hasher.finalize()
    return hash == unknown ? 1 : hash
  }

  /// The digest of the event that was shown at a position; nil where none was shown, or too long
  /// ago.
  subscript(position: Position) -> Int? {
    guard position.epoch == epoch, position.seq >= first,
      let digest = digests.at(Int(position.seq - first)), digest != Self.unknown
    else { return nil }
    return digest
  }

  var oldest: Position? {
    digests.isEmpty ? nil : Position(epoch: epoch, seq: first)
  }

  /// Whether a position is before all that is remembered.
  func beginBehind(_ position: Position) -> Bool {
    guard let oldest else { return false }
    return position.epoch == oldest.epoch && position < oldest
  }

  /// The numbers after `seq` that were shown.
  func numbers(after seq: Int64) -> [Int64] {
    zip(first..., digests).compactMap { number, digest in
      number > seq && digest != Self.unknown ? number : nil
    }
  }

  /// Remembers an event that comes after all remembered ones. A new epoch replaces everything.
  mutating func append(_ digest: Int, at position: Position) {
    let missing = position.epoch == epoch ? position.seq - first - Int64(digests.count) : -1
    if digests.isEmpty || !(0...Int64(Self.memory)).contains(missing) {
      (epoch, first, digests) = (position.epoch, position.seq, [])
    } else if missing > 0 {
      digests += repeatElement(Self.unknown, count: Int(missing))
    }
    digests.append(digest)
    guard digests.count > Self.memory + Self.maxSurplus else { return }
    let surplus = digests.count - Self.memory
    digests.removeFirst(surplus)
    first += Int64(surplus)
  }

  /// Forgets everything after a position, and every other epoch.
  mutating func forget(after position: Position) {
    guard position.epoch == epoch, position.seq >= first else {
      digests = []
      return
    }
    let surplus = Int64(digests.count) - (position.seq - first + 1)
    if surplus > 0 { digests.removeLast(Int(surplus)) }
  }
}
