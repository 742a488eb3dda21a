/// What gateways say to each other on the channel of the clock. Words with blanks between them.
enum RelayTalk: Sendable, Equatable {
  case mark(RelayMemory.HeardMark)
  /// A gateway lacks what was before its first mark.
  case need(request: String, before: RelayMark, end: RelayPosition?)
  /// Another gateway can lend so many bytes, perhaps all that is missing. Where all of it is one chain, `chain` is its
  /// first mark.
  case offer(request: String, lender: String, size: Int, isWhole: Bool, chain: RelayMark?)
  case nothing(request: String, lender: String)
  /// The first one takes the offer, and then piece after piece.
  case take(request: String, lender: String, piece: Int)
  /// A piece is there to be fetched.
  case piece(request: String, lender: String, number: Int, isLast: Bool)

  init?(_ bytes: some Sequence<UInt8>) {
    let words = String(decoding: Array(bytes), as: UTF8.self).split(
      separator: " ", omittingEmptySubsequences: false
    ).map(String.init)
    guard words.allSatisfy({ (1...80).contains($0.utf8.count) }) else { return nil }
    switch (words.first, words.count) {
    case ("mark", 6):
      guard let mark = Self.mark(words[1], words[2]) else { return nil }
      let published = Int64(words[4])
      guard published.map({ $0 >= 0 && $0 < 1 << 53 }) ?? (words[4] == "-") else { return nil }
      self = .mark(
        RelayMemory.HeardMark(
          mark: mark, process: words[3], publishedBefore: published, author: words[5]))
    case ("need", 5):
      guard let mark = Self.mark(words[2], words[3]) else { return nil }
      let end = RelayPosition(words[4])
      guard end != nil || words[4] == "-" else { return nil }
      self = .need(request: words[1], before: mark, end: end)
    case ("offer", 6):
      guard let size = Int(words[3]), size >= 0 else { return nil }
      let chain = RelayPosition(words[5])
      guard chain != nil || words[5] == "-" else { return nil }
      self = .offer(
        request: words[1], lender: words[2], size: size, isWhole: words[4] == "whole",
        chain: chain?.mark)
    case ("nothing", 3): self = .nothing(request: words[1], lender: words[2])
    case ("take", 4):
      guard let number = Self.piece(words[3]) else { return nil }
      self = .take(request: words[1], lender: words[2], piece: number)
    case ("piece", 5):
      guard let number = Self.piece(words[3]) else { return nil }
      self = .piece(
        request: words[1], lender: words[2], number: number, isLast: words[4] == "last")
    default: return nil
    }
  }

  private static func piece(_ word: String) -> Int? {
    Int(word).flatMap { (0..<100_000).contains($0) ? $0 : nil }
  }

  private static func mark(_ line: String, _ number: String) -> RelayMark? {
    guard RelayPosition.isLine(line), let number = Int64(number), (1..<(1 << 53)).contains(number)
    else { return nil }
    return RelayMark(line: line, number: number)
  }

  /// The words. Marks are published by scripts alone.
  var text: String {
    switch self {
    case .mark(let mark): "mark \(mark.mark.line) \(mark.mark.number)"
    case .need(let request, let mark, let end):
      "need \(request) \(mark.line) \(mark.number) \(end?.description ?? "-")"
    case .offer(let request, let lender, let size, let isWhole, let chain):
      "offer \(request) \(lender) \(size) \(isWhole ? "whole" : "part") "
        + (chain.map { RelayPosition($0, 0).description } ?? "-")
    case .nothing(let request, let lender): "nothing \(request) \(lender)"
    case .take(let request, let lender, let piece): "take \(request) \(lender) \(piece)"
    case .piece(let request, let lender, let number, let isLast):
      "piece \(request) \(lender) \(number) \(isLast ? "last" : "more")"
    }
  }
}
