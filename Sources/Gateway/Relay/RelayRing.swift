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
    private(set) var dropped: [[UInt8]: Int] = [:]
    private(set) var size = 256

    /// - Returns: whether there was none at this offset.
    @discardableResult
    mutating func insert(_ message: RelayMessage, at offset: Int) -> Bool {
      if let present = messages[offset] {
        // The gateway that heard it before may pass on less than this one.
        guard !present.isWhole, message.isWhole, message.user == present.user else { return false }
        size -= present.size
      }
      size += message.size
      return messages.updateValue(message, forKey: offset) == nil
    }

    /// Messages of a user up to an offset are no longer kept.
    mutating func note(dropped offset: Int, of user: [UInt8]) {
      let known = dropped.updateValue(max(dropped[user] ?? 0, offset), forKey: user)
      if known == nil { size += Self.noteSize(user) }
    }

    /// What it takes to remember that messages of a user were dropped, approximately, in bytes.
    private static func noteSize(_ user: [UInt8]) -> Int { user.count + 64 }

    /// Notes what was heard.
    ///
    /// - Returns: by how much it has grown.
    fileprivate mutating func add(
      _ message: RelayMessage?, at offset: Int, _ count: Int64
    ) -> Int {
      heard = max(heard, offset)
      publications = max(publications, count)
      guard let message, insert(message, at: offset) else { return 0 }
      return message.size
    }

    /// Takes its first messages out, as many as have a size together: as a beginning of this segment, which is united
    /// with the rest again.
    mutating func takeBeginning(_ maxSize: Int) -> Segment {
      var beginning = Segment(publishedBefore: publishedBefore)
      for (user, offset) in dropped { beginning.note(dropped: offset, of: user) }
      for offset in messages.keys.sorted() {
        guard let message = messages[offset],
          beginning.messages.isEmpty || beginning.size + message.size <= maxSize
        else { break }
        beginning.insert(message, at: offset)
        beginning.heard = offset
        // Whoever gets only the rest must know that it is not all.
        _ = drop(offset)
      }
      return beginning
    }

    /// Adds what another one heard behind the same mark. Both are beginnings of the same sequence.
    ///
    /// - Returns: the messages that were not there.
    fileprivate mutating func unite(_ other: Segment) -> [(offset: Int, user: [UInt8])] {
      var added: [(offset: Int, user: [UInt8])] = []
      for (offset, message) in other.messages where insert(message, at: offset) {
        added.append((offset, message.user))
      }
      var united: [[UInt8]: Int] = [:]
      for user in Set(dropped.keys).union(other.dropped.keys) {
        let (own, others) = (dropped[user] ?? 0, other.dropped[user] ?? 0)
        // The one that dropped less has the rest, as far as it heard.
        let isKnown = (own < others ? heard : other.heard) >= max(own, others)
        let last = isKnown ? min(own, others) : max(own, others)
        if last > 0 { united[user] = last }
      }
      size += united.keys.reduce(0) { $0 + Self.noteSize($1) }
      size -= dropped.keys.reduce(0) { $0 + Self.noteSize($1) }
      dropped = united
      heard = max(heard, other.heard)
      publications = max(publications, other.publications)
      next = next ?? other.next
      return added
    }

    /// - Returns: by how much it has shrunk.
    fileprivate mutating func drop(_ offset: Int) -> Int {
      let before = size
      guard let message = messages.removeValue(forKey: offset) else { return 0 }
      size -= message.size
      note(dropped: offset, of: message.user)
      return before - size
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
    guard let added = segments[position.mark]?.add(message, at: position.offset, publications)
    else { return }
    size += added
    if added > 0, let message { note(position, of: message.user) }
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
    var changed: Set<[UInt8]> = []
    for (mark, other) in others {
      var own = segments.removeValue(forKey: mark)
      size -= own?.size ?? 0
      let added = own?.unite(other) ?? other.messages.map { ($0.key, $0.value.user) }
      segments[mark] = own ?? other
      size += segments[mark]?.size ?? 0
      for (offset, user) in added {
        users[user, default: []].append(RelayPosition(mark, offset))
        changed.insert(user)
      }
    }
    let newest = lastTrim?.line ?? ""
    for user in changed {
      users[user]?.sort { Self.isBefore($0, $1, newest: newest) }
      dropSurplus(of: user)
    }
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
    guard let count = users[user]?.count, count > bounds.maxMessagesPerUser else { return }
    let surplus = count - bounds.maxMessagesPerUser
    for position in users[user]?.prefix(surplus) ?? [] {
      size -= segments[position.mark]?.drop(position.offset) ?? 0
    }
    users[user]?.removeFirst(surplus)
  }

  private mutating func trim(behind newest: RelayMark) {
    // Not at each mark, since every message that is kept brings one.
    let interval = min(1000, bounds.maxAge / 4)
    let isDue = newest.line != lastTrim?.line || newest.number - (lastTrim?.number ?? 0) >= interval
    guard isDue || size > bounds.maxSize else { return }
    lastTrim = newest
    let order = segments.keys.sorted {
      Self.isBefore(RelayPosition($0, 0), RelayPosition($1, 0), newest: newest.line)
    }
    for mark in order where mark != newest {
      // Numbers of two lines are compared here alone: to forget a little early or late does no harm.
      let isOld = mark.number < newest.number - bounds.maxAge
      if isOld || size > bounds.maxSize { forget(mark) }
    }
  }

  private mutating func forget(_ mark: RelayMark) {
    guard let segment = segments.removeValue(forKey: mark) else { return }
    size -= segment.size
    for user in Set(segment.messages.values.map(\.user)) {
      users[user]?.removeAll { $0.mark == mark }
      if users[user]?.isEmpty == true { users[user] = nil }
    }
  }

  /// The older one comes first. Lines before the newest one come first; how two of them follow each other does not
  /// matter.
  private static func isBefore(
    _ one: RelayPosition, _ other: RelayPosition, newest line: String
  ) -> Bool {
    (one.mark.line == line ? 1 : 0, one.mark.line, one.mark.number, one.offset)
      < (other.mark.line == line ? 1 : 0, other.mark.line, other.mark.number, other.offset)
  }

  // MARK: Looking

  /// The marks of a line that are remembered, in their order.
  func marks(of line: String) -> [RelayMark] {
    segments.keys.filter { $0.line == line }.sorted { $0.number < $1.number }
  }

  /// The messages of a user that are remembered: offsets by mark.
  func offsets(of user: [UInt8]) -> [RelayMark: [Int]] {
    Dictionary(grouping: users[user] ?? [], by: \.mark).mapValues { $0.map(\.offset).sorted() }
  }

  /// The first mark of the chain that reaches up to a mark, where nothing else than this chain is remembered before
  /// it.
  func chain(before end: RelayMark) -> RelayMark? {
    let known = before(end)
    let followers = Set(known.values.compactMap(\.next))
    let begins = known.keys.filter { !followers.contains($0) }
    let ends = known.values.count { $0.next == end || $0.next.map { known[$0] == nil } ?? true }
    return begins.count == 1 && ends == 1 ? begins.first : nil
  }

  /// Whether a position is one that was heard.
  func holds(_ position: RelayPosition) -> Bool {
    segments[position.mark].map { position.offset <= $0.heard } ?? false
  }
}
