/// Decides what to show of what arrives, and when the history must be asked.
///
/// The history on the server is the truth and a message only the news of it. A message that
/// continues the position is shown at once; anything else becomes a *suspect* and waits, with all
/// that comes behind it, for a reading of the history (`begin`, `replay` for each page, `finish`),
/// which shows what it holds in order and says of the rest that it was just a message. What was
/// shown from messages alone is *unverified* until the bus, compared with it, agrees: then either
/// it is verified, or it is retracted.
///
/// A value without I/O and without a clock, so that every order of input can be tested. The
/// reading of the history stands in `Timeline+History.swift`.
package struct Timeline: Sendable {
  /// With this many events unverified, the next comparison comes early.
  private static let muchUnverified: Int64 = 16_384
  /// With this many events unverified, the history must be read: more could not be retracted.
  private static let maxUnverified = Int64(ShownEvents.memory - 4096)

  /// Other apps on the channel are reported by name up to this number.
  static let maxOtherApps = 20

  package let app: String
  /// Whether what continues the position is shown before the history is known to hold it.
  private(set) var trustsMessages = true
  /// Other apps that publish on the same channel; at most one more than ``maxOtherApps``.
  package private(set) var otherApps: Set<String> = []
  /// The last event shown; nil while no bus has been seen.
  package internal(set) var position: Position?
  /// Up to here the history agrees with what was shown; of the same epoch as `position`.
  var verified: Position?
  var shown = ShownEvents()
  var suspects = Suspects()
  /// Messages about positions older than what is remembered in ``shown``.
  var latecomers = Suspects()
  /// Events are missing, or the bus contradicts what was shown.
  var isBehind = false
  var reading = Reading()
  /// How many comparisons in a row found no bus.
  var absences = 0
  /// Messages may still come that were published before the snapshot.
  private var isBeginning = true
  /// The bare word that may follow a plain event, which is the same event and not shown.
  private var expectedWord: String?

  /// - Parameters:
  ///   - position: where the bus stands in the snapshot; nil where there is none yet.
  ///   - tail: the last entries of the history up to there, by which late messages are recognised
  ///     and a loss of the last events is noticed.
  ///   - trustsMessages: whether what continues the position is shown at once; else only what the
  ///     history holds is.
  package init(
    app: String, position: Position?, tail: [HistoryEntry] = [], trustsMessages: Bool = true
  ) {
    self.app = app
    self.trustsMessages = trustsMessages
    self.position = position
    verified = position
    for entry in tail where entry.position.epoch == position?.epoch {
      shown.append(ShownEvents.digest(entry.bytes), at: entry.position)
    }
  }

  /// Whether the history has to be read before anything more is shown.
  package var needsHistory: Bool {
    isBehind || !suspects.isEmpty || unverified >= Self.maxUnverified
  }

  /// Whether so much is unverified that the next comparison should not wait for its time.
  package var wantsComparison: Bool { unverified >= Self.muchUnverified }

  private var unverified: Int64 { (position?.seq ?? 0) - (verified?.seq ?? 0) }

  /// After a lost connection, the history must be read for what happened meanwhile.
  package mutating func connectionWasLost() {
    isBehind = true
    isBeginning = false
    expectedWord = nil
  }

  // MARK: Messages

  /// Receives a message from the channel.
  ///
  /// - Parameter now: the time of its arrival by the server's clock, in ms.
  /// - Returns: what to show at once; nil where that is nothing.
  package mutating func receive(_ bytes: ArraySlice<UInt8>, now: Int64) -> WatchOutput? {
    let word = expectedWord
    expectedWord = nil
    if let foreign = Self.word(bytes) {
      return foreign.rawValue == word ? nil : .foreign(foreign, at: now)
    }
    guard let event = Event.read(bytes) else { return receiveUnreadable(bytes) }
    if event.isPlain { expectedWord = event.type.plainWord }
    // Apps share a channel unless told otherwise; another bus's events are not ours to show.
    guard event.app == app else {
      if otherApps.count <= Self.maxOtherApps { otherApps.insert(event.app) }
      return nil
    }
    return receive(event, bytes)
  }

  private mutating func receive(_ event: Event, _ bytes: ArraySlice<UInt8>) -> WatchOutput? {
    let digest = ShownEvents.digest(bytes)
    if !needsHistory {
      if trustsMessages, continues(event.position) { return show(event, digest, .live) }
      if shown[event.position] == digest { return nil }
      // Published between the subscription and the snapshot: the snapshot holds it already.
      if isBeginning, shown.beginBehind(event.position) { return nil }
    }
    let suspect = Suspects.Suspect(
      position: event.position, digest: digest, event: event, bytes: bytes)
    if event.position.epoch == position?.epoch, isForgotten(event.position) {
      latecomers.add(suspect)
    } else {
      suspects.add(suspect)
    }
    return nil
  }

  private mutating func receiveUnreadable(_ bytes: ArraySlice<UInt8>) -> WatchOutput? {
    // A later version's event has its place in the history; only the history can tell.
    guard let position = Event.position(ofUnreadable: bytes, app: app) else {
      return .message(Self.text(bytes))
    }
    suspects.add(.init(position: position, digest: ShownEvents.digest(bytes), bytes: bytes))
    return nil
  }

  /// Whether it is the very next event. Before the first reading of the history none is, since the
  /// epoch is not known yet.
  func continues(_ next: Position) -> Bool {
    guard let position else { return false }
    return next.epoch == position.epoch && next.seq == position.seq + 1
  }

  mutating func show(
    _ event: Event, _ digest: Int, _ source: WatchOutput.Source
  ) -> WatchOutput {
    advance(to: event.position, digest)
    return .event(event, source)
  }

  mutating func advance(to next: Position, _ digest: Int) {
    position = next
    shown.append(digest, at: next)
  }

  // MARK: Comparison

  /// Compares with the bus, which was read after everything up to `before` had been shown.
  ///
  /// A bus that is gone mostly comes back within moments, when the instances announce themselves again; so
  /// it counts as gone only at the second comparison.
  package mutating func compare(_ bus: Position?, shownBefore before: Position?) {
    absences = bus == nil && before != nil ? absences + 1 : 0
    if absences >= 2 { isBehind = true }
    guard let bus, bus != before else { return }
    guard let before else {
      isBehind = isBehind || bus.seq > 0
      return
    }
    if bus.epoch != before.epoch || bus.seq < before.seq { isBehind = true }
  }

  /// Takes note that every message published before `bus` was read has been received.
  package mutating func settle(_ bus: Position?) {
    isBeginning = false
    guard let bus else { return }
    guard let position, position >= bus else {
      isBehind = true
      return
    }
    guard !needsHistory, position.epoch == bus.epoch else { return }
    verified = max(verified ?? bus, bus)
  }
}

extension Timeline {
  /// A message on a channel without a bus: a foreign event for a bare word, else just a message.
  static func outsideAnyBus(_ bytes: ArraySlice<UInt8>, now: Int64) -> WatchOutput {
    word(bytes).map { .foreign($0, at: now) } ?? .message(text(bytes))
  }

  static func word(_ bytes: ArraySlice<UInt8>) -> EventType? {
    // The length rules out nearly every message without a comparison.
    switch bytes.count {
    case 5: bytes.elementsEqual("start".utf8) ? .start : nil
    case 4: bytes.elementsEqual("stop".utf8) ? .stop : nil
    default: nil
    }
  }

  /// The text of an untrusted message, cut where it is long.
  static func text(_ bytes: ArraySlice<UInt8>) -> String {
    let limit = 2000
    let text = String(decoding: bytes.prefix(limit), as: UTF8.self)
    return bytes.count > limit ? "\(text)… (\(bytes.count) bytes)" : text
  }
}

extension EventType {
  /// The tutorial's word for it, which `--plain` publishes behind the event.
  var plainWord: String? {
    switch self {
    case .start, .back: "start"
    case .stop, .lost: "stop"
    case .stopping, .forgotten: nil
    }
  }
}
