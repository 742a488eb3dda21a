extension WatchOutput {
  /// The name that is shown for the tutorial's instances, since they do not send one.
  package static let unnamed = "(unnamed)"

  private static let live = Array(#""source":"live""#.utf8)
  private static let replay = Array(#""source":"replay""#.utf8)

  /// Adds it as a whole line of JSON, with the members that the contract of `watch --json` names.
  public func addLine(to lines: inout [UInt8]) {
    var text = JSONText()
    switch self {
    case .event(let event, let source):
      return event.addLine(source == .live ? Self.live : Self.replay, to: &lines)
    case .snapshot(let status):
      text.member("source", "snapshot")
      status.addMembers(to: &text)
    case .foreign(let type, let at):
      text.member("source", "live")
      text.member("type", type.rawValue)
      text.member("at", at)
      text.member("name", Self.unnamed)
      text.member("foreign", true)
    case .message(let message):
      text.addRemark("message")
      text.always("text", message)
    case .gap(let from, let to):
      text.addRemark("gap")
      text.member("from", from)
      text.member("to", to)
      text.member("missing", to - from + 1)
    case .reset(let epoch):
      text.addRemark("reset")
      text.member("epoch", epoch)
    case .retracted(let seq):
      text.addRemark("retracted")
      text.member("seq", seq)
    }
    text.addLine(to: &lines)
  }
}

extension JSONText {
  /// A remark of the watch itself.
  fileprivate mutating func addRemark(_ type: String) {
    member("source", "watch")
    member("type", type)
  }
}
