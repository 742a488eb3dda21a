import Presence

/// How a watch's output looks: text for people, JSON for programs. The one place for both.
struct WatchRendering: Sendable {
  /// What the tutorial's instances are called, since they do not say.
  static let unnamed = "(unnamed)"

  var isJSON: Bool
  var hasColor: Bool

  /// A whole line with its end.
  func line(_ output: WatchOutput) -> [UInt8] {
    isJSON ? Self.json(output).object + [0x0A] : Array((text(output) + "\n").utf8)
  }

  // MARK: JSON

  private static func json(_ output: WatchOutput) -> JSONText {
    var text = JSONText()
    switch output {
    case .event(let event, let source):
      text.member("source", source.rawValue)
      event.addMembers(to: &text)
    case .snapshot(let status):
      text.member("source", "snapshot")
      status.addMembers(to: &text)
    case .foreign(let type, let at):
      text.member("source", "live")
      text.member("type", type.rawValue)
      text.member("at", at)
      text.member("name", unnamed)
      text.member("foreign", true)
    case .message(let message):
      remark("message", &text)
      text.always("text", message)
    case .gap(let from, let to):
      remark("gap", &text)
      text.member("from", from)
      text.member("to", to)
      text.member("missing", to - from + 1)
    case .reset(let epoch):
      remark("reset", &text)
      text.member("epoch", epoch)
    case .retracted(let seq):
      remark("retracted", &text)
      text.member("seq", seq)
    case .whole: break
    }
    return text
  }

  private static func remark(_ type: String, _ text: inout JSONText) {
    text.member("source", "watch")
    text.member("type", type)
  }

  // MARK: Text

  private func text(_ output: WatchOutput) -> String {
    switch output {
    case .event(let event, _):
      row(
        at: event.at, Style(event.type), event.instance,
        remarks: [event.cause, event.lifetime].compactMap { $0 })
    case .snapshot(let status):
      row(
        at: status.instance.started ?? 0, Style(status.state), status.instance,
        remarks: ["since \(LocalTime(milliseconds: status.instance.started ?? 0).dayAndTime)"])
    case .foreign(let type, let at):
      paint(
        "\(LocalTime(milliseconds: at).time)  \(Style(type).label)  \(Self.unnamed)", Style(type))
    case .message(let message): "? message \(Visible.text(message))"
    case .gap(let from, let to):
      "? gap     \(to - from + 1) events are no longer in the history (\(from) to \(to))"
    case .reset(let epoch):
      epoch.map {
        "? reset   the bus lost data or was born again (\(LocalTime(milliseconds: $0).dayAndTime))"
      } ?? "? reset   the bus is gone, and with it who was there"
    case .retracted(let seq): "? retracted  event \(seq) was not true"
    case .whole: ""
    }
  }

  private func row(
    at time: Int64, _ style: Style, _ instance: Instance, remarks: [String]
  ) -> String {
    let place = [instance.platform, instance.region].compactMap { $0 }.joined(separator: "/")
    let columns = [
      LocalTime(milliseconds: time).time, style.label,
      Visible.text(instance.name).padded(to: 14),
      Visible.text(instance.release ?? "-").padded(to: 8),
      Visible.text(place.isEmpty ? "-" : place).padded(to: 12),
      remarks.joined(separator: "  "),
    ]
    return paint(columns.joined(separator: "  ").trimmingEnd(), style)
  }

  private func paint(_ text: String, _ style: Style) -> String {
    hasColor ? "\u{1b}[\(style.color)m\(text)\u{1b}[0m" : text
  }
}

/// Symbol, word and colour of a kind of line. Symbol and word carry the meaning alone.
private struct Style {
  var symbol: Character
  var word: String
  /// The number of an SGR escape sequence (ECMA-48).
  var color: Int

  init(_ symbol: Character, _ word: String, _ color: Int) {
    self.symbol = symbol
    self.word = word
    self.color = color
  }

  init(_ type: EventType) {
    self =
      switch type {
      case .start: Style("+", "start", 32)
      case .stopping: Style("~", "stopping", 33)
      case .stop: Style("-", "stop", 34)
      case .lost: Style("!", "lost", 31)
      case .back: Style("*", "back", 36)
      case .forgotten: Style("x", "forgotten", 35)
      }
  }

  init(_ state: InstanceStatus.State) {
    self =
      switch state {
      case .stopping: Style("~", "stopping", 33)
      case .overdue: Style("!", "overdue", 31)
      case .up, .lost, .stopped: Style("=", state.rawValue, 0)
      }
  }

  var label: String { "\(symbol) \(word.padded(to: 9))" }
}

extension Event {
  /// Why it happened, in a few words.
  fileprivate var cause: String? {
    guard let reason else { return nil }
    let parts = [Visible.text(reason), signal.map(Visible.text), exit.map { "exit \($0)" }]
    return parts.compactMap { $0 }.joined(separator: " ")
  }

  /// How long the instance had run, where the event is an end.
  fileprivate var lifetime: String? {
    guard type == .stop || type == .lost, let started = instance.started, at >= started else {
      return nil
    }
    return "after \(Span(milliseconds: at - started))"
  }
}

extension InstanceStatus {
  /// The record with its state, as programs get it.
  func addMembers(to text: inout JSONText) {
    text.member("state", state.rawValue)
    text.member("seq", seq)
    instance.addMembers(to: &text)
  }
}
