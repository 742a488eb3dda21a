/// Digests of the events of one epoch that are known to whoever watches, by their numbers, so that
/// each is recognised when it comes again or when the history has something else in its place.
///
/// The numbers of an epoch have no gaps, so an array does; of the oldest it lets go.
struct ShownEvents: Sendable {
  /// More than all the messages that can wait for us in the mailbox and in the buffers of two TCP
  /// sockets; of what Redis itself holds back for us besides, the oldest may be beyond it.
  static let memory = 131_072
  /// Letting go moves what is kept, so it is not done for each.
  private static let maxSurplus = memory / 4
  private static let unknown = 0

  private var epoch: Int64 = 0
  /// The number of the first digest.
  private var first: Int64 = 1
  private var digests: [Int] = []

  /// Stands for the bytes of an event; differs from one process to the next.
  static func digest(_ bytes: ArraySlice<UInt8>) -> Int {
    // All at once: the array's own way is one byte after the other.
    var hasher = Hasher()
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    let hash = hasher.finalize()
    return hash == unknown ? 1 : hash
  }

  /// The digest of what was shown there; nil where nothing was, or too long ago.
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

  /// The numbers behind `seq` that were shown.
  func numbers(after seq: Int64) -> [Int64] {
    zip(first..., digests).compactMap { number, digest in
      number > seq && digest != Self.unknown ? number : nil
    }
  }

  /// Remembers what comes behind everything that is remembered; a new epoch begins anew.
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

  /// Forgets everything behind a position, and every other epoch.
  mutating func forget(after position: Position) {
    guard position.epoch == epoch, position.seq >= first else {
      digests = []
      return
    }
    let surplus = Int64(digests.count) - (position.seq - first + 1)
    if surplus > 0 { digests.removeLast(Int(surplus)) }
  }
}
