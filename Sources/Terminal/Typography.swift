#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How text may look at its destination: with or without colour, and with which characters.
package struct Typography: Sendable {
  package var hasColor = false
  /// Whether more than ASCII can be shown.
  package var isUnicode = true
  /// How wide a line may be; nil where lines are not cut, for example in a pipe.
  package var columns: Int?

  /// The typography that suits the destination of `descriptor`.
  ///
  /// Sets the character type of the process's locale, from which the system knows how wide
  /// characters are.
  package static func of(
    descriptor: CInt, color: ColorChoice, environment: [String: String]
  ) -> Typography {
    setlocale(LC_CTYPE, "")
    let code = nl_langinfo(nl_item(CODESET)).map { String(cString: $0) }
    // Widths need a locale that knows all characters.
    if code != "UTF-8" { setlocale(LC_CTYPE, "C.UTF-8") }
    return Typography(
      hasColor: color.isOn(descriptor: descriptor, environment: environment),
      isUnicode: code == "UTF-8", columns: TerminalSize.of(descriptor)?.columns)
  }

  /// Text in a graphic rendition.
  ///
  /// - Parameter rendition: the numbers of an SGR sequence (ECMA-48, 8.3.117), such as `1;31`.
  package func paint(_ text: String, _ rendition: String) -> String {
    hasColor && !text.isEmpty ? "\u{1b}[\(rendition)m\(text)\u{1b}[0m" : text
  }
}

/// The size of a terminal in character cells.
package struct TerminalSize: Sendable, Hashable {
  /// The smallest number of columns that we draw for.
  private static let least = 20

  package var columns: Int
  package var rows: Int

  package init(columns: Int, rows: Int) {
    self.columns = columns
    self.rows = rows
  }

  /// nil where the descriptor is not a terminal.
  package static func of(_ descriptor: CInt) -> TerminalSize? {
    var size = winsize()
    guard isatty(descriptor) == 1 else { return nil }
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return TerminalSize(columns: 80, rows: 24)
    }
    return TerminalSize(columns: max(least, Int(size.ws_col)), rows: max(3, Int(size.ws_row)))
  }
}
