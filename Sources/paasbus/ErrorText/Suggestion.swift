/// Finds what the user may have meant.
enum Suggestion {
  /// The word that is nearest to a mistyped one; nil where none is near.
  static func nearest(to word: String, among words: [String]) -> String? {
    let longer = words.filter { $0.hasPrefix(word) && word.count >= 2 }
    if longer.count == 1 { return longer.first }
    let ranked = words.map { (word: $0, distance: distance(word, $0)) }
    guard let best = ranked.min(by: { $0.distance < $1.distance }),
      best.distance <= max(1, (word.count + 1) / 3)
    else { return nil }
    return best.word
  }

  /// How many letters have to be changed, added, left out or swapped with their neighbours (the
  /// optimal string alignment distance).
  static func distance(_ one: String, _ other: String) -> Int {
    let (one, other) = (Array(one), Array(other))
    var rows = [Array(0...other.count)]
    for (i, letter) in one.enumerated() {
      var row = [i + 1]
      for (j, its) in other.enumerated() {
        var least = min(rows[i][j] + (letter == its ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, letter == other[j - 1], one[i - 1] == its {
          least = min(least, rows[i - 1][j - 1] + 1)
        }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[one.count][other.count]
  }
}
