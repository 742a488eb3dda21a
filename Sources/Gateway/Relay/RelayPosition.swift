/// A moment in the order that one Redis process gives all its subscribers. A script publishes marks, and each gateway
/// counts what comes behind them, so all gateways call the same message by the same name without asking each other.
struct RelayMark: Sendable, Hashable {
  /// A random word, one for each Redis process.
  var line: String
  /// Grows along the line. By default the server's time in ms.
  var number: Int64

  /// What numbers may be that come from others' memory: far above any time, and so far below what Lua counts
  /// exactly that no such number keeps marks from growing.
  static let trusted: ClosedRange<Int64> = 1...(1 << 52)
  /// The same for counts of publications.
  static let trustedCounts: ClosedRange<Int64> = 0...(1 << 52)
}

/// The name of a message: which one it is behind a mark.
///
/// It is written `LINE-MARK-OFFSET`, as in `k3f9xa-1764105600123-7`.
struct RelayPosition: Sendable, Hashable, CustomStringConvertible {
  var mark: RelayMark
  /// Counted from 1; 0 for the mark itself. Every message that the pattern matches counts.
  var offset: Int

  init(_ mark: RelayMark, _ offset: Int) {
    (self.mark, self.offset) = (mark, offset)
  }

  /// Reads a name as it was written; nil for anything else.
  init?(_ text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, Self.isLine(parts[0]), let number = Self.number(parts[1]),
      let offset = Self.number(parts[2]), number > 0, offset <= Int32.max
    else { return nil }
    self.init(RelayMark(line: String(parts[0]), number: number), Int(offset))
  }

  var description: String { "\(mark.line)-\(mark.number)-\(offset)" }

  /// Whether a text can be the name of a line.
  static func isLine(_ text: some StringProtocol) -> Bool {
    (1...16).contains(text.utf8.count)
      && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) }
  }

  private static func number(_ text: Substring) -> Int64? {
    guard let number = Int64(text), (0...9_007_199_254_740_991).contains(number),
      text.elementsEqual("\(number)")
    else { return nil }
    return number
  }
}

/// What a worker published for a user. All of it is compared as bytes: two texts that Swift or Unicode take for equal
/// can be two users.
struct RelayMessage: Sendable, Hashable {
  var user: [UInt8]
  var job: [UInt8]
  /// Empty where it was larger than the gateway that heard it passes on.
  var payload: [UInt8]
  /// How long it is, in bytes, whether it is remembered or not.
  var length: Int

  init(user: [UInt8], job: [UInt8], payload: [UInt8], length: Int? = nil) {
    (self.user, self.job, self.payload) = (user, job, payload)
    self.length = length ?? payload.count
  }

  /// Whether all of it is remembered.
  var isWhole: Bool { payload.count == length }

  /// Whether a gateway with this limit, in bytes, passes it on.
  func isPassedOn(_ maxMessage: Int) -> Bool { length <= maxMessage && isWhole }

  /// What it takes in memory, approximately, in bytes.
  var size: Int { user.count + job.count + payload.count + 128 }
}
