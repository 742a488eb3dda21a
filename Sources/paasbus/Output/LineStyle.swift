import Presence

/// How a kind of line looks. Symbol and word carry the meaning alone.
struct LineStyle: Sendable {
  var symbol: Character
  var word: String
  /// Numbers of an SGR escape sequence (ECMA-48, 8.3.117).
  var rendition: String

  init(_ type: EventType) {
    (symbol, word, rendition) = (type.symbol, type.rawValue, type.rendition)
  }

  init(_ state: InstanceStatus.State) {
    (symbol, word, rendition) = (state.symbol, state.rawValue, state.rendition)
  }

  var label: String { "\(symbol) \(word.padded(to: 9))" }
}

extension EventType {
  var symbol: Character {
    switch self {
    case .start: "+"
    case .stopping: "~"
    case .stop: "-"
    case .lost: "!"
    case .back: "*"
    case .forgotten: "x"
    }
  }

  var rendition: String {
    switch self {
    case .start: "32"
    case .stopping: "33"
    case .stop: "36"
    case .lost: "1;31"
    case .back: "1;32"
    case .forgotten: "35"
    }
  }
}

extension InstanceStatus.State {
  var symbol: Character {
    switch self {
    case .up: "="
    case .stopping: "~"
    case .overdue, .lost: "!"
    case .stopped: "-"
    }
  }

  var rendition: String {
    switch self {
    case .up: "0"
    case .stopping: "33"
    case .overdue, .lost: "1;31"
    case .stopped: "36"
    }
  }
}
