/// Reading the history: it shows what was missed, confirms what was shown, and judges the suspects.
extension Timeline {
  /// How a reading goes.
  struct Reading: Sendable {
    /// It goes back to all that is remembered, to find where the history parted from it.
    var isDeep = false
    /// A certain event was contradicted: the next reading is to be a deep one.
    var mustRestart = false
    /// Of which epoch it has already been said that the watch begins anew.
    var resetEpoch: Int64?
  }

  /// Begins a reading: where to read from (inclusive).
  package mutating func begin(_ bus: Position) -> (from: Position, output: [WatchOutput]) {
    reading = Reading(isDeep: reading.isDeep)
    absences = 0
    let birth = Position(epoch: bus.epoch, seq: 0)
    guard let position, let verified else {
      (position, verified) = (birth, birth)
      return (birth, [])
    }
    // Where only the bus was born anew, the history still has what came at the end of the old one.
    guard bus.epoch == position.epoch else { return (min(verified, birth), []) }
    guard bus.seq < verified.seq else {
      let output = retract(after: bus.seq)
      return (reading.isDeep ? shown.oldest ?? birth : verified, output)
    }
    // The server lost what was already certain.
    reading.isDeep = true
    let output = reset(to: bus)
    return (shown.oldest ?? birth, output)
  }

  /// Shows what a page of the history holds beyond the position.
  package mutating func replay(_ page: [HistoryEntry], bus: Position) -> [WatchOutput] {
    var output: [WatchOutput] = []
    for entry in page {
      guard !reading.mustRestart, let position else { break }
      let epoch = entry.position.epoch
      if epoch != position.epoch {
        // What a bus before ours left behind is no news.
        let isLater = epoch > position.epoch && epoch < bus.epoch
        guard epoch == bus.epoch || isLater else { continue }
        output += reset(to: Position(epoch: epoch, seq: 0))
      }
      output += apply(entry, ShownEvents.digest(entry.bytes))
    }
    return output
  }

  private mutating func apply(_ entry: HistoryEntry, _ digest: Int) -> [WatchOutput] {
    guard let position else { return [] }
    var output: [WatchOutput] = []
    if entry.position <= position {
      guard let known = shown[entry.position], known != digest else { return [] }
      output += contradict(entry.position)
      if reading.mustRestart { return output }
    } else if entry.position.seq > position.seq + 1 {
      output.append(.gap(from: position.seq + 1, to: entry.position.seq - 1))
    }
    let source: WatchOutput.Source =
      suspects.contain(digest, at: entry.position) ? .live : .replay
    if let event = Event.read(entry.bytes) {
      output.append(show(event, digest, source))
    } else {
      advance(to: entry.position, digest)
      output.append(.message(Self.text(entry.bytes)))
    }
    return output
  }

  /// The history has other bytes at a number that was shown.
  private mutating func contradict(_ contradicted: Position) -> [WatchOutput] {
    guard let verified, contradicted <= verified else {
      return retract(after: contradicted.seq - 1)
    }
    guard reading.isDeep else {
      (reading.isDeep, reading.mustRestart) = (true, true)
      return []
    }
    return reset(to: Position(epoch: contradicted.epoch, seq: contradicted.seq - 1))
  }

  /// Takes back what was shown behind `seq` and is not certain.
  private mutating func retract(after seq: Int64) -> [WatchOutput] {
    let last = max(seq, verified?.seq ?? 0)
    guard let position, position.seq > last else { return [] }
    let gone = shown.numbers(after: last)
    let end = Position(epoch: position.epoch, seq: last)
    self.position = end
    shown.forget(after: end)
    return gone.map { .retracted(seq: $0) }
  }

  private mutating func reset(to start: Position) -> [WatchOutput] {
    (position, verified) = (start, start)
    shown.forget(after: start)
    defer { reading.resetEpoch = start.epoch }
    return reading.resetEpoch == start.epoch ? [] : [.reset(epoch: start.epoch)]
  }

  /// Ends a reading: the history has been read up to `bus` at least.
  package mutating func finish(_ bus: Position) -> [WatchOutput] {
    guard !reading.mustRestart else {
      isBehind = true
      return []
    }
    reading.isDeep = false
    var output: [WatchOutput] = []
    if position?.epoch != bus.epoch { output += reset(to: Position(epoch: bus.epoch, seq: 0)) }
    if let position, position.seq < bus.seq {
      output.append(.gap(from: position.seq + 1, to: bus.seq))
      self.position = bus
    }
    verified = position
    isBehind = false
    return output + judgeSuspects(bus)
  }

  /// There is no bus to ask: what waits cannot be more than messages.
  package mutating func abandon() -> [WatchOutput] {
    isBehind = false
    let waiting = suspects.take()
    var output: [WatchOutput] = []
    if absences >= 2 {
      (position, verified, shown, absences) = (nil, nil, ShownEvents(), 0)
      output = [.reset(epoch: nil)]
    }
    return output + tell(waiting.list, uncounted: waiting.uncounted)
  }

  // MARK: Suspects

  private mutating func judgeSuspects(_ bus: Position) -> [WatchOutput] {
    let waiting = suspects.take()
    var output: [WatchOutput] = []
    var refuted: [Suspects.Suspect] = []
    for suspect in waiting.list where shown[suspect.position] != suspect.digest {
      if trustsMessages, let event = suspect.event, !needsHistory,
        continues(suspect.position)
      {
        output.append(show(event, suspect.digest, .live))
      } else if suspect.position > bus, !suspect.hasWaited {
        // It may have been published after the history was read: then the next reading has it.
        var again = suspect
        again.hasWaited = true
        suspects.add(again)
      } else if isForgotten(suspect.position) {
        latecomers.add(suspect)
      } else {
        refuted.append(suspect)
      }
    }
    return output + tell(refuted, uncounted: waiting.uncounted)
  }

  /// Shows what turned out to be no event, in words where there is too much of it.
  private func tell(_ suspects: [Suspects.Suspect], uncounted: Int) -> [WatchOutput] {
    let whole = suspects.compactMap(\.bytes)
    let others = suspects.count - whole.count + uncounted
    return whole.map { .message(Self.text($0)) }
      + (others > 0 ? [.message("… and \(others) more that stand in no history")] : [])
  }
}

/// Messages about a past that is no longer remembered: an event of a flood that comes late, or a lie.
/// They hold up nothing, and the history tells which.
extension Timeline {
  /// Whether some wait to be judged.
  var hasLatecomers: Bool { !latecomers.isEmpty }

  /// Where they say that they belong: what the history holds there is to be handed to ``recall(_:)``.
  var latecomerPositions: [ClosedRange<Position>] { latecomers.ranges }

  /// Takes what the history holds at positions of the past.
  mutating func recall(_ page: [HistoryEntry]) {
    for entry in page {
      latecomers.recall(ShownEvents.digest(entry.bytes), at: entry.position)
    }
  }

  /// Judges them once all of their positions have been recalled; returns what stands in no history.
  mutating func judgeLatecomers() -> [WatchOutput] {
    let waiting = latecomers.take()
    return tell(waiting.list.filter { !waiting.isRecalled($0) }, uncounted: waiting.uncounted)
  }

  /// Whether a position is before all that is remembered.
  func isForgotten(_ candidate: Position) -> Bool {
    guard let oldest = shown.oldest ?? position else { return false }
    return candidate < oldest
  }
}
