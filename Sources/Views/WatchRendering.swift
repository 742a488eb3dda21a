import Presence
import Terminal

/// How the output of a watch looks: text for people, JSON for programs. Both are made only here.
package struct WatchRendering: Sendable {
  /// Where the day is shown, in addition to the time.
  package enum Days: Sendable {
    case nowhere, everywhere
    /// In a separate line, on a terminal.
    case whereItChanges
  }

  private let isJSON: Bool
  private let typography: Typography
  private let tellsDays: Days
  private var layout: LineLayout
  /// The day of the last event that was shown as it came.
  private var day: String
  private var lastTime: (second: Int64, texts: LocalTime.Texts)?

  /// - Parameter now: the present time in ms since 1970, so that today's date is not shown.
  package init(isJSON: Bool, typography: Typography, tellsDays: Days, now: Int64) {
    self.isJSON = isJSON
    self.typography = typography
    self.tellsDays = tellsDays
    layout = LineLayout(columns: typography.columns, isUnicode: typography.isUnicode)
    day = LocalTime(milliseconds: now).day
  }

  /// The width of the terminal, which may change.
  package var columns: Int? {
    get { layout.columns }
    set { layout.columns = newValue }
  }

  /// Whole lines with their ends.
  package mutating func lines(_ batch: [WatchOutput]) -> [UInt8] {
    if isJSON {
      var lines: [UInt8] = []
      lines.reserveCapacity(batch.count * 320)
      for output in batch { output.addLine(to: &lines) }
      return lines
    }
    var lines: [UInt8] = []
    lines.reserveCapacity(batch.count * 120)
    for output in batch { addText(output, to: &lines) }
    return lines
  }

  // MARK: Text

  private mutating func addText(_ output: WatchOutput, to lines: inout [UInt8]) {
    switch output {
    case .event(let event, _):
      addFront(at: event.at, isNews: true, LineStyle(event.type), to: &lines)
      addRow(event.instance, remarks: event.remarks, to: &lines)
    case .snapshot(let status):
      let started = status.instance.started ?? 0
      addFront(at: started, isNews: false, LineStyle(status.state), to: &lines)
      // The line begins with the time of day, so only another day is added.
      let day = LocalTime(milliseconds: started).day
      addRow(status.instance, remarks: [day == self.day ? "" : "since \(day)"], to: &lines)
    case .foreign(let type, let at):
      addFront(at: at, isNews: true, LineStyle(type), to: &lines)
      lines.add("\(WatchOutput.unnamed)\n")
    case .message, .gap, .reset, .retracted: lines.add(Self.remark(output))
    }
  }

  private static func remark(_ output: WatchOutput) -> String {
    switch output {
    case .message(let message): "? message \(Visible.text(message))\n"
    case .gap(let from, let to):
      "? gap     \(count(to - from + 1, "event")) no longer in the history (\(from) to \(to))\n"
    case .reset(let epoch):
      epoch.map {
        "? reset   the bus lost data or was created anew (\(LocalTime(milliseconds: $0).dayAndTime))\n"
      } ?? "? reset   the bus is gone, and all its instances with it\n"
    case .retracted(let seq): "? retracted  event \(seq) did not happen\n"
    case .event, .snapshot, .foreign: ""
    }
  }

  /// Adds what comes after the time and the word of a line.
  private func addRow(_ instance: Instance, remarks: [String], to lines: inout [UInt8]) {
    let rest = layout.addColumns(
      name: Visible.text(instance.name), release: instance.release.map(Visible.text),
      place: instance.place.map(Visible.text), remarks: remarks, to: &lines)
    if !rest.isEmpty {
      lines.add("  ")
      lines.add(typography.paint(rest, "2"))
    }
    while lines.last == UInt8(ascii: " ") { lines.removeLast() }
    lines.append(UInt8(ascii: "\n"))
  }

  private mutating func addFront(
    at time: Int64, isNews: Bool, _ style: LineStyle, to lines: inout [UInt8]
  ) {
    let time = localTime(time)
    switch tellsDays {
    case .nowhere: break
    case .everywhere: lines.add("\(time.day) ")
    case .whereItChanges: if isNews { lines.add(heading(time.day)) }
    }
    lines.add(time.time)
    lines.add("  ")
    lines.add(typography.paint(style.label, style.rendition))
    lines.add("  ")
  }

  /// Most events share their second with the one before.
  private mutating func localTime(_ time: Int64) -> LocalTime.Texts {
    if let known = lastTime, known.second == time / 1000 { return known.texts }
    let texts = LocalTime(milliseconds: time).texts
    lastTime = (time / 1000, texts)
    return texts
  }

  /// The line that comes before an event of another day than the last one.
  private mutating func heading(_ day: String) -> String {
    guard day != self.day else { return "" }
    self.day = day
    let rule = typography.isUnicode ? "──" : "--"
    return typography.paint("\(rule) \(day) \(rule)", "1") + "\n"
  }
}

extension Instance {
  /// The platform and the region, as far as they are known.
  package var place: String? {
    guard let platform, let region else { return platform ?? region }
    return "\(platform)/\(region)"
  }
}

extension Event {
  /// Why the event happened, and how long the instance had run.
  ///
  /// - Returns: the same in several lengths, the longest first.
  fileprivate var remarks: [String] {
    guard let lifetime else { return [cause ?? ""] }
    let front = cause.map { "\($0)  " } ?? ""
    return ["\(front)ran \(lifetime)", "\(front)ran \(lifetime.coarse)"]
      + [cause].compactMap(\.self)
  }

  /// Why it happened, in a few words, and for a failure the memory that was used last.
  package var cause: String? {
    guard isFailure, let used = UsageText.memory(memory.used, of: memory.limit) else {
      return causeAlone
    }
    return causeAlone.map { "\($0), \(used)" } ?? used
  }

  private var causeAlone: String? {
    guard let reason else { return nil }
    if signal == nil, exit == nil { return Visible.text(reason) }
    // Where a command ended by itself, its status alone says enough.
    let isToldByStatus = reason == "exit" && exit != nil || reason == "signal" && signal != nil
    let parts = [
      isToldByStatus ? nil : Visible.text(reason),
      signal == reason ? nil : signal.map(Visible.text), exit.map { "exit \($0)" },
    ]
    return parts.compactMap { $0 }.joined(separator: " ")
  }

  /// Whether an instance ended without being told to, and not with success.
  package var isFailure: Bool {
    switch (type, reason) {
    case (.lost, _), (.stop, "signal"), (.stop, "oom"): true
    case (.stop, "exit"): exit != 0 && exit != nil
    default: false
    }
  }

  /// How long the instance had run, where the event is an end.
  private var lifetime: Span? {
    guard type == .stop || type == .lost, let started = instance.started, at >= started else {
      return nil
    }
    return Span(milliseconds: at - started)
  }
}
