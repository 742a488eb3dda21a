/// What a gateway knows of the order of messages, and where in it it is.
///
/// A life is the time of one pair of connections, the subscribed one and the one for commands. What one connection
/// hears has no holes, so within a life all is contiguous. What was heard before is linked to it only by what other
/// gateways lend.
struct RelayMemory: Sendable {
  /// A mark as it is published.
  struct HeardMark: Sendable, Equatable {
    var mark: RelayMark
    /// The Redis process that made it (`run_id`).
    var process: String
    /// How often the server had been asked to publish something before; nil where that is not known.
    var publishedBefore: Int64?
    /// Which life of which gateway asked for it.
    var author: String
  }

  enum Outcome: Sendable, Equatable {
    /// It is before the life's own first mark, where other gateways are elsewhere.
    case ignored
    case heard
    /// It was the life's first mark: from here on positions are known.
    case began
    /// It was made by another process than the one that the connections lead to, so nothing holds any longer.
    case otherProcess
  }

  private struct Life: Sendable {
    var process: String
    var author: String
    var position: RelayPosition?
    /// How many publications were heard since the last mark.
    var publications: Int64 = 0
    var isReady = false
  }

  private(set) var ring: RelayRing
  /// How far the last life that became ready has heard. From here a new life asks for what it missed, and from here
  /// go on the sockets that were held meanwhile.
  ///
  /// A life that ends before it is ready does not move it: its sockets have nothing of what it heard.
  private(set) var end: RelayPosition?
  private var life: Life?
  /// The highest number of a mark that was heard.
  private(set) var highest: Int64 = 0

  init(_ bounds: RelayRing.Bounds = RelayRing.Bounds()) {
    ring = RelayRing(bounds)
  }

  /// Where this life is; nil before its first mark.
  var position: RelayPosition? { life?.position }
  var isReady: Bool { life?.isReady ?? false }

  // MARK: Lives

  /// - Parameters:
  ///   - process: what both connections lead to.
  ///   - author: a word by which the life knows its own marks.
  mutating func beginLife(process: String, author: String) {
    life = Life(process: process, author: author)
  }

  mutating func endLife() { life = nil }

  /// What was missed has been filled in as far as that was possible. From here on sockets are served.
  mutating func becomeReady() {
    life?.isReady = true
    if let position { end = position }
  }

  // MARK: Hearing

  mutating func hear(_ heard: HeardMark) -> Outcome {
    guard var life else { return .ignored }
    guard heard.process == life.process else { return .otherProcess }
    guard life.position != nil || heard.author == life.author else { return .ignored }
    // A mark that does not grow is none of a clock that this life can follow.
    if let last = life.position?.mark, last.line == heard.mark.line,
      heard.mark.number <= last.number
    {
      return .otherProcess
    }
    let isFirst = life.position == nil
    ring.begin(
      heard.mark, after: life.position?.mark, publishedBefore: heard.publishedBefore)
    // Where nothing was published in between, what was heard in an earlier life is contiguous.
    if isFirst { ring.link(heard.mark.line) }
    highest = max(highest, heard.mark.number)
    life.position = RelayPosition(heard.mark, 0)
    life.publications = 0
    self.life = life
    moveEnd()
    return isFirst ? .began : .heard
  }

  /// - Parameter message: nil for one that the pattern matches, and that is for no user.
  /// - Returns: its name; nil before the life's first mark.
  mutating func hear(_ message: RelayMessage?) -> RelayPosition? {
    guard var life, let last = life.position else { return nil }
    let position = RelayPosition(last.mark, last.offset + 1)
    life.position = position
    life.publications += 1
    ring.add(message, at: position, publications: life.publications)
    self.life = life
    moveEnd()
    return position
  }

  /// Counts what was published for gateways.
  mutating func hearPublication() {
    guard let mark = life?.position?.mark else { return }
    life?.publications += 1
    ring.notePublications(life?.publications ?? 0, behind: mark)
  }

  private mutating func moveEnd() {
    if isReady, let position { end = position }
  }

  // MARK: What others remember

  mutating func unite(_ segments: [RelayMark: RelayRing.Segment]) {
    ring.unite(segments)
    for line in Set(segments.keys.map(\.line)) { ring.link(line) }
    highest = max(highest, segments.keys.map(\.number).max() ?? 0)
  }
}
