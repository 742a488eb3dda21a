import CTerminal

extension Character {
  /// How many cells of a terminal it takes: 0, 1 or 2.
  ///
  /// As the system's `wcwidth` says of its first scalar, but 2 for what is shown as an emoji (UAX
  /// #29 puts its parts into one character).
  package var displayWidth: Int {
    if let ascii = asciiValue { return ascii < 0x20 || ascii == 0x7F ? 0 : 1 }
    let scalars = unicodeScalars
    let isEmoji = scalars.count > 1 && scalars.contains { $0.isEmojiPart }
    return isEmoji ? 2 : max(0, Int(scalars.first.map { wcwidth(wchar_t($0.value)) } ?? 0))
  }
}

extension Unicode.Scalar {
  /// What makes a character of several scalars an emoji: a joiner between two, the selector of
  /// emoji style, a skin tone, a half of a flag (UTS #51).
  fileprivate var isEmojiPart: Bool {
    switch value {
    case 0x200D, 0xFE0F, 0x1F3FB...0x1F3FF, 0x1F1E6...0x1F1FF: true
    default: false
    }
  }
}

extension String {
  /// How many cells of a terminal it takes.
  package var displayWidth: Int {
    utf8.allSatisfy { $0 < 0x80 } ? utf8.count : reduce(0) { $0 + $1.displayWidth }
  }

  /// The text with spaces behind it, up to so many cells.
  package func padded(to width: Int) -> String {
    let missing = width - displayWidth
    return missing > 0 ? self + String(repeating: " ", count: missing) : self
  }

  /// The text in no more than so many cells; where it is cut, a sign says so.
  package func cut(to width: Int, isUnicode: Bool = true) -> String {
    guard displayWidth > width else { return self }
    let sign = isUnicode ? "…" : "~"
    var text = ""
    var room = width - 1
    for character in self {
      room -= character.displayWidth
      guard room >= 0 else { break }
      text.append(character)
    }
    return width > 0 ? text + sign : ""
  }

  /// Just so many cells: cut or filled with spaces.
  package func fitted(to width: Int, isUnicode: Bool = true) -> String {
    cut(to: width, isUnicode: isUnicode).padded(to: width)
  }
}

extension [UInt8] {
  package mutating func add(_ text: String) { self += text.utf8 }

  /// Adds a text with spaces behind it, up to so many cells of a terminal.
  package mutating func add(_ text: String, paddedTo width: Int) {
    add(text)
    self += repeatElement(UInt8(ascii: " "), count: Swift.max(0, width - text.displayWidth))
  }
}
