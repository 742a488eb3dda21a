/// Messages that do not continue what was shown and wait for a reading of the history.
///
/// Anybody may publish, so what is kept is bounded: the first ones whole, more by their digest, and
/// the rest only as a number.
struct Suspects: Sendable {
  struct Suspect: Sendable {
    var position: Position
    var digest: Int
    /// nil for a version that we do not know, and beyond ``mostWhole``.
    var event: Event?
    /// nil beyond ``mostWhole``.
    var bytes: ArraySlice<UInt8>?
    /// One reading of the history has not had it yet.
    var hasWaited = false
  }

  private struct Arrival: Hashable {
    var position: Position
    var digest: Int
  }

  private static let mostWhole = 1000
  private static let most = 65_536

  private(set) var list: [Suspect] = []
  private var arrivals: Set<Arrival> = []
  /// How many came beyond all bounds.
  private(set) var uncounted = 0

  var isEmpty: Bool { list.isEmpty && uncounted == 0 }

  mutating func add(_ suspect: Suspect) {
    guard list.count < Self.most else {
      uncounted += 1
      return
    }
    var suspect = suspect
    if list.count >= Self.mostWhole {
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

  /// Hands all of them out.
  mutating func take() -> Suspects {
    defer { self = Suspects() }
    return self
  }
}
