/// What a gateway remembers of the last messages: a map of segments, each of which begins with a mark.
///
/// Two segments are contiguous only if one connection heard one behind the other, or if the server's own count of
/// what was published proves that nothing came in between. Numbers alone prove nothing. So what two gateways
/// remember is united without further thought: under the same name stands the same message.
struct RelayRing: Sendable {
  struct Bounds: Sendable {
    /// In ms of marks.
    var maxAge: Int64 = 600_000
    /// In bytes.
    var maxSize = 64 * 1024 * 1024
    var maxMessagesPerUser = 100
  }

  /// What came between a mark and the next one.
  struct Segment: Sendable, Equatable {
    /// By offset; only those for users.
    var messages: [Int: RelayMessage] = [:]
    /// All offsets up to this one were heard.
    var heard = 0
    /// The mark that was heard behind it, on the same connection.
    var next: RelayMark?
    /// How often the server had been asked to publish something when the mark was made; nil where that is not
    /// known.
    var publishedBefore: Int64?
    /// How many publications were heard since the mark, those of the gateways among them.
    var publications: Int64 = 0
    /// The last message of a user that is no longer kept, by user.
    var dropped: [[UInt8]: Int] = [:]
    var size = 256

    /// - Returns: whether it was not there.
    @discardableResult
    mutating func insert(_ message: RelayMessage, at offset: Int) -> Bool {
      guard messages.updateValue(message, forKey: offset) == nil else { return false }
      size += message.size
      return true
    }

    fileprivate mutating func drop(_ offset: Int) {
      guard let message = messages.removeValue(forKey: offset) else { return }
      size -= message.size
      dropped[message.user] = max(dropped[message.user] ?? 0, offset)
    }
  }

  private(set) var segments: [RelayMark: Segment] = [:]
  private(set) var size = 0
  /// The messages of each user in the order in which they were added.
  private var users: [[UInt8]: [RelayPosition]] = [:]
  /// The mark behind which it was last looked at what is too old.
  private var lastTrim: RelayMark?
  private let bounds: Bounds

  init(_ bounds: Bounds = Bounds()) {
    self.bounds = bounds
  }

  // MARK: Hearing

  /// Begins a segment, behind the one that was heard before on the same connection.
  mutating func begin(_ mark: RelayMark, after previous: RelayMark?, publishedBefore: Int64?) {
    if let previous { segments[previous]?.next = mark }
    if segments[mark] == nil {
      segments[mark] = Segment(publishedBefore: publishedBefore)
      size += segments[mark]?.size ?? 0
    }
    trim(behind: mark)
  }

  /// Adds what was heard behind a mark.
  ///
  /// - Parameters:
  ///   - message: nil for one that is for no user.
  ///   - publications: how many were heard since the mark, this one among them.
  mutating func add(_ message: RelayMessage?, at position: RelayPosition, publications: Int64) {
    guard var segment = segments.removeValue(forKey: position.mark) else { return }
    segment.heard = max(segment.heard, position.offset)
    segment.publications = max(segment.publications, publications)
    size -= segment.size
    let isNew = message.map { segment.insert($0, at: position.offset) } ?? false
    size += segment.size
    segments[position.mark] = segment
    if isNew, let message { note(position, of: message.user) }
  }

  /// Notes a publication that has no name.
  mutating func notePublications(_ count: Int64, behind mark: RelayMark) {
    let known = segments[mark]?.publications ?? 0
    segments[mark]?.publications = max(known, count)
  }

  /// Links segments between which nothing was published, by the server's own count.
  mutating func link(_ line: String) {
    let marks = marks(of: line)
    for (previous, mark) in zip(marks, marks.dropFirst()) {
      guard let before = segments[previous], before.next == nil,
        let first = before.publishedBefore, let now = segments[mark]?.publishedBefore,
        // The mark before was a publication itself.
        now == first + 1 + before.publications
      else { continue }
      segments[previous]?.next = mark
    }
  }

  // MARK: Uniting

  /// Adds what another gateway, or an earlier one, remembers.
  mutating func unite(_ others: [RelayMark: Segment]) {
    for (mark, other) in others {
      guard var own = segments[mark] else {
        segments[mark] = other
        size += other.size
        continue
      }
      size -= own.size
      for (offset, message) in other.messages where (own.dropped[message.user] ?? 0) < offset {
        own.insert(message, at: offset)
      }
      // Both are beginnings of the same sequence, of which the longer one counts.
      own.heard = max(own.heard, other.heard)
      own.publications = max(own.publications, other.publications)
      own.next = own.next ?? other.next
      for (user, offset) in other.dropped {
        own.dropped[user] = max(own.dropped[user] ?? 0, offset)
      }
      size += own.size
      segments[mark] = own
    }
    rebuildUsers()
  }

  /// All but what lies behind a mark on its line.
  func before(_ mark: RelayMark) -> [RelayMark: Segment] {
    segments.filter { $0.key.line != mark.line || $0.key.number < mark.number }
  }

  // MARK: Forgetting

  private mutating func note(_ position: RelayPosition, of user: [UInt8]) {
    users[user, default: []].append(position)
    dropSurplus(of: user)
  }

  private mutating func dropSurplus(of user: [UInt8]) {
    guard let positions = users[user], positions.count > bounds.maxMessagesPerUser else { return }
    let surplus = positions.count - bounds.maxMessagesPerUser
    for position in positions.prefix(surplus) {
      size -= segments[position.mark]?.size ?? 0
      segments[position.mark]?.drop(position.offset)
      size += segments[position.mark]?.size ?? 0
    }
    users[user]?.removeFirst(surplus)
  }

  private mutating func trim(behind newest: RelayMark) {
    // Not at each mark, since every message that is kept brings one.
    let interval = min(1000, bounds.maxAge / 4)
    let isDue = newest.line != lastTrim?.line || newest.number - (lastTrim?.number ?? 0) >= interval
    guard isDue || size > bounds.maxSize else { return }
    lastTrim = newest
    let order = ordered(newest: newest.line)
    var dropsAny = false
    for mark in order where mark != newest {
      // Numbers of two lines are compared here alone: to forget a little early or late does no harm.
      let isOld = mark.number < newest.number - bounds.maxAge
      guard isOld || size > bounds.maxSize else { continue }
      size -= segments.removeValue(forKey: mark)?.size ?? 0
      dropsAny = true
    }
    if dropsAny { rebuildUsers() }
  }

  /// The oldest first. Lines before the newest one come first; how two of them follow each other does not matter.
  private func ordered(newest line: String) -> [RelayMark] {
    segments.keys.sorted {
      ($0.line == line ? 1 : 0, $0.line, $0.number) < ($1.line == line ? 1 : 0, $1.line, $1.number)
    }
  }

  private mutating func rebuildUsers() {
    users = [:]
    for mark in ordered(newest: lastTrim?.line ?? "") {
      for (offset, message) in (segments[mark]?.messages ?? [:]).sorted(by: { $0.key < $1.key }) {
        users[message.user, default: []].append(RelayPosition(mark, offset))
      }
    }
    for user in Array(users.keys) { dropSurplus(of: user) }
  }

  // MARK: Looking

  /// The marks of a line that are remembered, in their order.
  func marks(of line: String) -> [RelayMark] {
    segments.keys.filter { $0.line == line }.sorted { $0.number < $1.number }
  }

  /// Whether a position is one that was heard.
  func holds(_ position: RelayPosition) -> Bool {
    segments[position.mark].map { position.offset <= $0.heard } ?? false
  }
}
