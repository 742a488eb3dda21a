/// Reading the history: shows what was missed, confirms what was shown, and decides about the suspects.
extension Timeline {
  /// The state of a reading.
  struct Reading: Sendable {
    /// It reads everything that is remembered again, to find where the history differs from it.
    var isDeep = false
    /// The history contradicts a verified event, so the next reading must be a deep one.
    var mustRestart = false
    /// The epoch for which a `reset` was already told.
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
    // If only the bus hash was lost, the history still holds the last events of the old epoch.
    guard bus.epoch == position.epoch else { return (min(verified, birth), []) }
    guard bus.seq < verified.seq else {
      let output = retract(after: bus.seq)
      return (reading.isDeep ? shown.oldest ?? birth : verified, output)
    }
    // The server lost events that were verified.
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
        // Entries of an older epoch were shown before, or are no news.
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

  /// Retracts what was shown after `seq` and is not verified.
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

  /// There is no bus to ask, so what waits is shown as mere messages.
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
        // It may have been published after the history was read; then the next reading holds it.
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

  /// Shows as messages what turned out to be no event, and how many of which nothing was kept.
  private func tell(_ suspects: [Suspects.Suspect], uncounted: Int) -> [WatchOutput] {
    let whole = suspects.compactMap(\.bytes)
    let others = suspects.count - whole.count + uncounted
    return whole.map { .message(Self.text($0)) }
      + (others > 0 ? [.message("… and \(others) more that stand in no history")] : [])
  }
}

/// Messages about positions older than what is remembered: late events of a flood, or forgeries. Nothing waits
/// for them; the history tells which they are.
extension Timeline {
  /// Whether some wait to be judged.
  var hasLatecomers: Bool { !latecomers.isEmpty }

  /// The ranges of the history to read and hand to ``recall(_:)``.
  var latecomerPositions: [ClosedRange<Position>] { latecomers.ranges }

  /// Receives what the history holds at such positions.
  mutating func recall(_ page: [HistoryEntry]) {
    for entry in page {
      latecomers.recall(ShownEvents.digest(entry.bytes), at: entry.position)
    }
  }

  /// Returns, as messages, those that the history does not hold, once all their ranges were recalled.
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
