import CTerminal

extension Character {
  /// How many cells of a terminal it takes: 0, 1 or 2.
  ///
  /// This is what the system's `wcwidth` says of the first scalar, except that an emoji of several
  /// scalars takes 2 (UAX #29 puts the parts of an emoji into one character).
  package var displayWidth: Int {
    if let ascii = asciiValue { return ascii < 0x20 || ascii == 0x7F ? 0 : 1 }
    let scalars = unicodeScalars
    let isEmoji = scalars.count > 1 && scalars.contains { $0.isEmojiPart }
    return isEmoji ? 2 : max(0, Int(scalars.first.map { wcwidth(wchar_t($0.value)) } ?? 0))
  }
}

extension Unicode.Scalar {
  /// Whether the scalar makes a character of several scalars an emoji: a joiner between two, the
  /// selector of emoji style, a skin tone, or half of a flag (UTS #51).
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
    let isASCII = utf8.withContiguousStorageIfAvailable { $0.allSatisfy { $0 < 0x80 } }
    return isASCII == true ? utf8.count : reduce(0) { $0 + $1.displayWidth }
  }

  /// The text, filled up with spaces to this many cells.
  package func padded(to width: Int) -> String {
    let missing = width - displayWidth
    return missing > 0 ? self + String(repeating: " ", count: missing) : self
  }

  /// The text in at most this many cells. Where it is cut, a sign shows that.
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

  /// The text in exactly this many cells: cut, or filled up with spaces.
  package func fitted(to width: Int, isUnicode: Bool = true) -> String {
    let missing = width - displayWidth
    if missing == 0 { return self }
    if missing > 0 { return self + String(repeating: " ", count: missing) }
    return cut(to: width, isUnicode: isUnicode).padded(to: width)
  }
}

extension [UInt8] {
  package mutating func add(_ text: String) { self += text.utf8 }

  /// Adds a text, filled up with spaces to this many cells of a terminal.
  package mutating func add(_ text: String, paddedTo width: Int) {
    add(text)
    self += repeatElement(UInt8(ascii: " "), count: Swift.max(0, width - text.displayWidth))
  }
}
