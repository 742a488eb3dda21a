/// Messages that do not continue what was shown and wait for a reading of the history.
///
/// Anybody may publish, so what is kept is bounded: the first ones whole, more by their digest, and
/// the rest only as a number.
struct Suspects: Sendable {
  struct Suspect: Sendable {
    var position: Position
    var digest: Int
    /// nil for a version that we do not know, and beyond ``maxWhole``.
    var event: Event?
    /// nil beyond ``maxWhole``.
    var bytes: ArraySlice<UInt8>?
    /// One reading of the history has not had it yet.
    var hasWaited = false
  }

  private struct Arrival: Hashable {
    var position: Position
    var digest: Int
  }

  private static let maxWhole = 1000
  private static let most = 65_536

  /// How many ranges the positions are put together to, and how many numbers may lie between two that
  /// are put together.
  private static let maxRanges = 64
  private static let maxBetween: Int64 = 8

  private(set) var list: [Suspect] = []
  private var arrivals: Set<Arrival> = []
  /// What the history turned out to hold at positions of the past.
  private var recalled: Set<Arrival> = []
  /// How many came beyond all bounds.
  private(set) var uncounted = 0

  var isEmpty: Bool { list.isEmpty && uncounted == 0 }

  mutating func add(_ suspect: Suspect) {
    guard list.count < Self.most else {
      uncounted += 1
      return
    }
    var suspect = suspect
    if list.count >= Self.maxWhole {
      (suspect.event, suspect.bytes) = (nil, nil)
    } else if let bytes = suspect.bytes {
      // In memory of its own, and not with all that came at once.
      let own = ArraySlice(Array(bytes))
      (suspect.event, suspect.bytes) = (suspect.event.flatMap { _ in Event.read(own) }, own)
    }
    arrivals.insert(Arrival(position: suspect.position, digest: suspect.digest))
    list.append(suspect)
  }

  /// Whether what the history holds there has come as a message too.
  func contain(_ digest: Int, at position: Position) -> Bool {
    !arrivals.isEmpty && arrivals.contains(Arrival(position: position, digest: digest))
  }

  /// Their positions, put together where they are near to each other; of very many, the oldest.
  var ranges: [ClosedRange<Position>] {
    var ranges: [ClosedRange<Position>] = []
    for position in list.map(\.position).sorted() {
      if let last = ranges.last, last.upperBound.epoch == position.epoch,
        position.seq - last.upperBound.seq <= Self.maxBetween
      {
        ranges[ranges.count - 1] = last.lowerBound...position
      } else if ranges.count < Self.maxRanges {
        ranges.append(position...position)
      } else {
        break
      }
    }
    return ranges
  }

  /// Remembers what the history holds at a position of the past, where that has come as a message.
  mutating func recall(_ digest: Int, at position: Position) {
    if contain(digest, at: position) {
      recalled.insert(Arrival(position: position, digest: digest))
    }
  }

  /// Whether a suspect is an event of the past.
  func isRecalled(_ suspect: Suspect) -> Bool {
    recalled.contains(Arrival(position: suspect.position, digest: suspect.digest))
  }

  /// Hands all of them out.
  mutating func take() -> Suspects {
    defer { self = Suspects() }
    return self
  }
}
