/// Messages that do not continue what was shown, and wait until the history has been read.
///
/// Anyone may publish, so memory is bounded: the first messages are kept whole, further ones as a digest, and
/// the rest are only counted.
struct Suspects: Sendable {
  struct Suspect: Sendable {
    var position: Position
    var digest: Int
    /// nil for a version that this program does not know, and beyond ``maxWhole``.
    var event: Event?
    /// nil beyond ``maxWhole``.
    var bytes: ArraySlice<UInt8>?
    /// The history has been read once and did not hold it.
    var hasWaited = false
  }

  private struct Arrival: Hashable {
    var position: Position
    var digest: Int
  }

  private static let maxWhole = 1000
  private static let maxSuspects = 65_536
  private static let maxRanges = 64
  /// Two positions that are this near to each other belong to one range.
  private static let maxBetween: Int64 = 8

  private(set) var list: [Suspect] = []
  private var arrivals: Set<Arrival> = []
  /// Messages that the history was found to hold.
  private var recalled: Set<Arrival> = []
  /// How many came beyond ``maxSuspects``.
  private(set) var uncounted = 0

  var isEmpty: Bool { list.isEmpty && uncounted == 0 }

  mutating func add(_ suspect: Suspect) {
    guard list.count < Self.maxSuspects else {
      uncounted += 1
      return
    }
    var suspect = suspect
    if list.count >= Self.maxWhole {
      (suspect.event, suspect.bytes) = (nil, nil)
    } else if let bytes = suspect.bytes {
      // Copied, since the slice would keep the whole read of the socket in memory.
      let own = ArraySlice(Array(bytes))
      (suspect.event, suspect.bytes) = (suspect.event.flatMap { _ in Event.read(own) }, own)
    }
    arrivals.insert(Arrival(position: suspect.position, digest: suspect.digest))
    list.append(suspect)
  }

  /// Whether a message with this digest came for this position.
  func contain(_ digest: Int, at position: Position) -> Bool {
    !arrivals.isEmpty && arrivals.contains(Arrival(position: position, digest: digest))
  }

  /// The ranges of history to read for them: at most ``maxRanges``, the oldest first.
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

  /// Notes what the history holds at a position, if that came as a message.
  mutating func recall(_ digest: Int, at position: Position) {
    if contain(digest, at: position) {
      recalled.insert(Arrival(position: position, digest: digest))
    }
  }

  /// Whether the history was found to hold it.
  func isRecalled(_ suspect: Suspect) -> Bool {
    recalled.contains(Arrival(position: suspect.position, digest: suspect.digest))
  }

  /// Returns all of them and is empty afterwards.
  mutating func take() -> Suspects {
    defer { self = Suspects() }
    return self
  }
}
