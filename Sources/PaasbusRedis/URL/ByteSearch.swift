extension String {
  /// How often a text stands in it, byte for byte.
  ///
  /// The standard library's search would make every start slower, since it has the runtime look through all types of
  /// the program.
  func occurrences(of text: String) -> Int {
    let (bytes, wanted) = (Array(utf8), Array(text.utf8))
    guard let first = wanted.first, bytes.count >= wanted.count else { return 0 }
    return (0...bytes.count - wanted.count).count { start in
      bytes[start] == first && bytes[start..<start + wanted.count] == wanted[...]
    }
  }
}
