import Presence
import Terminal

/// How a kind of line looks. The symbol and the word carry the meaning, so it is clear without
/// colour.
package struct LineStyle: Sendable {
  package var symbol: Character
  package var word: String
  /// Numbers of an SGR escape sequence (ECMA-48, 8.3.117).
  package var rendition: String

  package init(_ type: EventType) {
    (symbol, word, rendition) = (type.symbol, type.rawValue, type.rendition)
  }

  package init(_ state: InstanceStatus.State) {
    (symbol, word, rendition) = (state.symbol, state.rawValue, state.rendition)
  }

  package var label: String { "\(symbol) \(word.padded(to: 9))" }
}

extension EventType {
  package var symbol: Character {
    switch self {
    case .start: "+"
    case .stopping: "~"
    case .stop: "-"
    case .lost: "!"
    case .back: "*"
    case .forgotten: "x"
    }
  }

  package var rendition: String {
    switch self {
    case .start: "32"
    case .stopping: "35"
    case .stop: "36"
    case .lost: "1;31"
    case .back: "1;32"
    case .forgotten: "2"
    }
  }
}

extension InstanceStatus.State {
  package var symbol: Character {
    switch self {
    case .up: "="
    case .stopping: "~"
    case .overdue, .lost: "!"
    case .stopped: "-"
    }
  }

  package var rendition: String {
    switch self {
    case .up: "0"
    case .stopping: "35"
    case .overdue, .lost: "1;31"
    case .stopped: "36"
    }
  }
}
