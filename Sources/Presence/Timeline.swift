/// Decides what to show of what arrives, and when the history must be asked.
///
/// The history on the server is the truth and a message only the news of it. A message that
/// continues the position is shown at once; anything else becomes a *suspect* and waits, with all
/// that comes behind it, for a reading of the history (`begin`, `replay` for each page, `finish`),
/// which shows what it holds in order and says of the rest that it was just a message. What was
/// shown from messages alone is *unverified* until the bus, compared with it, agrees: then either
/// it is verified, or it is retracted.
///
/// A value without I/O and without a clock, so that every order of input can be tested.
public struct Timeline: Sendable {
  /// How many shown events are remembered to recognise them again.
  private static let memory = 4096
  private static let mostSuspects = 1000

  private struct Suspect {
    var position: Position
    var event: Event?
    var bytes: [UInt8]
    var hasWaited = false
  }

  public let app: String
  /// Other apps that publish on the same channel; a few of them.
  public private(set) var otherApps: Set<String> = []
  /// The last event shown; nil while no bus has been seen.
  public private(set) var position: Position?
  /// Up to here the history agrees with what was shown.
  private var verified: Position?
  /// Digests of what was shown, by position, oldest first.
  private var shown: [Position: Int] = [:]
  private var shownOrder: [Position] = []
  private var suspects: [Suspect] = []
  private var isBehind = false
  /// This reading goes back to all that is remembered, to find where the history parted from it.
  private var isDeep = false
  private var mustRestart = false
  private var hasReset = false
  /// The bare word that follows a plain event.
  private var expectedWord: String?

  /// - Parameter position: where the bus stands in the snapshot; nil where there is none yet.
  public init(app: String, position: Position?) {
    self.app = app
    self.position = position
    verified = position
  }

  /// Whether the history has to be read before anything more is shown.
  public var needsHistory: Bool { isBehind || !suspects.isEmpty }

  /// After a lost connection, whatever happened meanwhile is missing.
  public mutating func connectionWasLost() {
    isBehind = true
    expectedWord = nil
  }

  // MARK: Messages

  /// Takes a message from the channel.
  ///
  /// - Parameter now: the time of its arrival by the server's clock, in ms.
  public mutating func receive(_ bytes: [UInt8], now: Int64) -> [WatchOutput] {
    let word = expectedWord
    expectedWord = nil
    if let foreign = Self.word(bytes) {
      return foreign.rawValue == word ? [] : [.foreign(foreign, at: now)]
    }
    guard let event = Event(decoding: bytes) else { return receiveUnreadable(bytes) }
    if event.instance.isPlain { expectedWord = event.type.plainWord }
    // Apps share a channel unless told otherwise; another bus's events are not ours to show.
    guard event.instance.app == app else {
      if otherApps.count < 20 { otherApps.insert(event.instance.app) }
      return []
    }
    return receive(event, bytes)
  }

  private mutating func receive(_ event: Event, _ bytes: [UInt8]) -> [WatchOutput] {
    if !needsHistory {
      if continues(event.position) { return [show(event, bytes, .live)] }
      if shown[event.position] == bytes.hashValue { return [] }
    }
    return suspect(Suspect(position: event.position, event: event, bytes: bytes))
  }

  private mutating func receiveUnreadable(_ bytes: [UInt8]) -> [WatchOutput] {
    // A later version's event has its place in the history; only the history can tell.
    if let position = Event.position(ofUnreadable: bytes, app: app) {
      return suspect(Suspect(position: position, event: nil, bytes: bytes))
    }
    return [.message(Self.text(bytes))]
  }

  private mutating func suspect(_ suspect: Suspect) -> [WatchOutput] {
    if suspects.count >= Self.mostSuspects {
      isBehind = true
      return [.message(Self.text(suspect.bytes))]
    }
    suspects.append(suspect)
    return []
  }

  private func continues(_ next: Position) -> Bool {
    guard let position else { return next.seq == 1 }
    return next.epoch == position.epoch && next.seq == position.seq + 1
  }

  private mutating func show(
    _ event: Event, _ bytes: [UInt8], _ source: WatchOutput.Source
  ) -> WatchOutput {
    advance(to: event.position, bytes)
    return .event(event, source)
  }

  private mutating func advance(to next: Position, _ bytes: [UInt8]) {
    position = next
    shown[next] = bytes.hashValue
    shownOrder.append(next)
    guard shownOrder.count > 2 * Self.memory else { return }
    for old in shownOrder.prefix(Self.memory) { shown[old] = nil }
    shownOrder.removeFirst(Self.memory)
  }

  // MARK: Comparison

  /// The bus as it was read after everything up to `before` had been shown.
  public mutating func compare(_ bus: Position?, shownBefore before: Position?) {
    guard let bus, bus != before else { return }
    guard let before else {
      isBehind = isBehind || bus.seq > 0
      return
    }
    if bus.epoch != before.epoch || bus.seq < before.seq { isBehind = true }
  }

  /// Every message that was published before `bus` was read has been received by now.
  public mutating func settle(_ bus: Position?) {
    guard let bus else { return }
    guard let position, position >= bus else {
      isBehind = true
      return
    }
    guard !needsHistory, position.epoch == bus.epoch else { return }
    verified = max(verified ?? bus, bus)
  }

  // MARK: History

  /// Begins a reading of the history: where to read from (inclusive; nil for the beginning).
  public mutating func begin(_ bus: Position) -> (from: Position?, output: [WatchOutput]) {
    (hasReset, mustRestart) = (false, false)
    guard let position else {
      self.position = Position(epoch: bus.epoch, seq: 0)
      return (nil, [])
    }
    // The ids of a new epoch may sort before the old ones, so all is read.
    guard bus.epoch == position.epoch else { return (nil, []) }
    var output: [WatchOutput] = []
    if let verified, bus.seq < verified.seq {
      // The server lost what was already certain.
      isDeep = true
      output = reset(to: bus)
    } else {
      output = retract(after: bus.seq)
    }
    return (isDeep ? shownOrder.first { $0.epoch == bus.epoch } : verified, output)
  }

  /// Shows what a page of the history holds beyond the position.
  public mutating func replay(_ page: [HistoryEntry], bus: Position) -> [WatchOutput] {
    var output: [WatchOutput] = []
    for entry in page {
      guard !mustRestart, let position else { break }
      if entry.position.epoch != position.epoch {
        guard entry.position.epoch == bus.epoch else { continue }
        output += reset(to: Position(epoch: bus.epoch, seq: 0))
      }
      output += take(entry)
    }
    return output
  }

  private mutating func take(_ entry: HistoryEntry) -> [WatchOutput] {
    guard let position else { return [] }
    var output: [WatchOutput] = []
    if entry.position <= position {
      let digest = shown[entry.position]
      if digest == nil || digest == entry.bytes.hashValue { return [] }
      output += contradict(entry.position)
      if mustRestart { return output }
    } else if entry.position.seq > position.seq + 1 {
      output.append(.gap(from: position.seq + 1, to: entry.position.seq - 1))
    }
    let arrived = suspects.contains { $0.position == entry.position && $0.bytes == entry.bytes }
    if let event = Event(decoding: entry.bytes) {
      output.append(show(event, entry.bytes, arrived ? .live : .replay))
    } else {
      advance(to: entry.position, entry.bytes)
      output.append(.message(Self.text(entry.bytes)))
    }
    return output
  }

  /// The history has other bytes at a number that was shown.
  private mutating func contradict(_ place: Position) -> [WatchOutput] {
    if let verified, place <= verified {
      guard isDeep else {
        (isDeep, mustRestart) = (true, true)
        return []
      }
      return reset(to: Position(epoch: place.epoch, seq: place.seq - 1))
    }
    return retract(after: place.seq - 1)
  }

  private mutating func retract(after seq: Int64) -> [WatchOutput] {
    guard let position, position.seq > seq else { return [] }
    let first = max(seq, verified?.epoch == position.epoch ? verified?.seq ?? 0 : 0)
    self.position = Position(epoch: position.epoch, seq: first)
    let gone = shownOrder.filter { $0.epoch == position.epoch && $0.seq > first }
    forget { $0.epoch == position.epoch && $0.seq > first }
    return gone.map { .retracted(seq: $0.seq) }
  }

  private mutating func reset(to place: Position) -> [WatchOutput] {
    position = place
    verified = place
    forget { $0.epoch != place.epoch || $0.seq > place.seq }
    defer { hasReset = true }
    return hasReset ? [] : [.reset(epoch: place.epoch)]
  }

  private mutating func forget(where isGone: (Position) -> Bool) {
    shownOrder.removeAll { place in
      guard isGone(place) else { return false }
      shown[place] = nil
      return true
    }
  }

  /// Ends a reading: the history has been read up to `bus` at least.
  ///
  /// - Parameter confirmed: positions of suspects that the history was asked for by themselves,
  ///   with the bytes that it holds there.
  public mutating func finish(
    _ bus: Position, confirmed: [Position: [UInt8]] = [:]
  ) -> [WatchOutput] {
    guard !mustRestart else {
      isBehind = true
      return []
    }
    isDeep = false
    var output: [WatchOutput] = []
    if position?.epoch != bus.epoch { output += reset(to: Position(epoch: bus.epoch, seq: 0)) }
    if let position, position.seq < bus.seq {
      output.append(.gap(from: position.seq + 1, to: bus.seq))
      self.position = bus
    }
    verified = position
    isBehind = false
    let waiting = suspects
    suspects = []
    for suspect in waiting { output += judge(suspect, bus, confirmed) }
    return output
  }

  /// There is no bus to ask: what waits cannot be more than messages.
  public mutating func abandon() -> [WatchOutput] {
    defer { suspects = [] }
    isBehind = false
    return suspects.map { .message(Self.text($0.bytes)) }
  }

  private mutating func judge(
    _ suspect: Suspect, _ bus: Position, _ confirmed: [Position: [UInt8]]
  ) -> [WatchOutput] {
    if shown[suspect.position] == suspect.bytes.hashValue { return [] }
    if confirmed[suspect.position] == suspect.bytes { return [] }
    if let event = suspect.event, !needsHistory, continues(suspect.position) {
      return [show(event, suspect.bytes, .live)]
    }
    // It may have been published after the history was read: then the next reading has it.
    guard suspect.position > bus, !suspect.hasWaited else {
      return [.message(Self.text(suspect.bytes))]
    }
    var waiting = suspect
    waiting.hasWaited = true
    suspects.append(waiting)
    return []
  }

  /// The suspects that stand before the position, where a reading that starts at the verified
  /// position does not look.
  public var unconfirmed: [Position] {
    suspects.map(\.position).filter { place in
      guard let verified else { return false }
      return place < verified && shown[place] == nil
    }
  }
}

extension Timeline {
  static func word(_ bytes: [UInt8]) -> EventType? {
    switch bytes {
    case Array("start".utf8): .start
    case Array("stop".utf8): .stop
    default: nil
    }
  }

  /// The text of an untrusted message, cut where it is long.
  static func text(_ bytes: [UInt8]) -> String {
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
