import ExpressSessions
import Presence
import Terminal

/// Sessions of an Express app as a table for people, or as one JSON object per line for programs, and how many
/// there are of each kind.
package struct SessionTable {
  /// So many sessions are sorted and aligned before the first is shown; more come as they are found.
  private static let maxSorted = 1000

  /// How many there are of each kind.
  package struct Totals: Sendable {
    private var kinds: [Session.Kind: Int] = [:]
    private var endless = 0

    package init() {}

    /// How many there are.
    package var count: Int { kinds.values.reduce(0, +) }

    mutating func add(_ session: Session) {
      kinds[session.kind, default: 0] += 1
      if session.left == nil { endless += 1 }
    }

    /// `2 logged in, 1 anonymous, 0 without expiry, 0 unreadable`
    package var text: String {
      func number(_ kind: Session.Kind) -> Int { kinds[kind] ?? 0 }
      return "\(number(.loggedIn)) logged in, \(number(.anonymous)) anonymous, "
        + "\(endless) without expiry, \(number(.unreadable)) unreadable"
    }
  }

  package private(set) var totals = Totals()
  private let isJSON: Bool
  private var table: TextTable
  /// Those that are not shown yet; nil once there are too many to sort.
  private var waiting: [Session]? = []

  package init(isJSON: Bool, typography: Typography) {
    self.isJSON = isJSON
    table = TextTable(
      header: ["SESSION", "USER", "LEFT", "MAX AGE", "SIZE"], elastic: 1,
      expendable: ["SIZE", "MAX AGE"], typography: typography)
  }

  /// Takes some sessions, and returns the lines that can be shown by now.
  package mutating func add(_ sessions: [Session]) -> [UInt8] {
    for session in sessions { totals.add(session) }
    guard let waiting, waiting.count + sessions.count <= Self.maxSorted else {
      defer { waiting = nil }
      return lines((waiting ?? []) + sessions)
    }
    self.waiting = waiting + sessions
    return []
  }

  /// The lines that are left to show.
  package mutating func end() -> [UInt8] {
    let rows = (waiting ?? []).map { (user: $0.user?.text, session: $0) }
    let sorted = rows.sorted {
      ($0.user ?? "\u{10FFFF}", $0.session.id.short) < (
        $1.user ?? "\u{10FFFF}", $1.session.id.short
      )
    }
    return lines(sorted.map(\.session))
  }

  private mutating func lines(_ sessions: [Session]) -> [UInt8] {
    guard !sessions.isEmpty else { return [] }
    guard isJSON else { return table.lines(sessions.flatMap(cells)) }
    var lines: [UInt8] = []
    for session in sessions {
      var text = JSONText()
      Self.addMembers(session, to: &text)
      text.addLine(to: &lines)
    }
    return lines
  }

  private func cells(_ session: Session) -> [String] {
    [
      Visible.text(session.id.short), user(session), session.left.map(Self.span) ?? "-",
      session.maxAge.map(Self.span) ?? "-", session.size.map(Self.size) ?? "-",
    ]
  }

  private func user(_ session: Session) -> String {
    if case .failure(let fault) = session.content { return "(unreadable: \(fault.text))" }
    return session.shownUser().map(Visible.text) ?? "-"
  }

  private static func span(_ milliseconds: Int64) -> String {
    Span(milliseconds: milliseconds).description
  }

  /// `312 B`, `4.2 kB`
  package static func size(_ bytes: Int) -> String {
    guard bytes >= 1000 else { return "\(bytes) B" }
    let (number, unit) = bytes >= 1_000_000 ? (bytes / 100_000, "MB") : (bytes / 100, "kB")
    return "\(number / 10).\(number % 10) \(unit)"
  }

  /// What a program may know of a session: neither its id nor what it holds.
  ///
  /// - Parameter name: what the session is called; nil for the short form of its id.
  package static func addMembers(
    _ session: Session, name: String? = nil, to text: inout JSONText
  ) {
    text.member("session", name ?? session.id.short)
    text.member("user", session.shownUser(isRevealed: name == session.id.text))
    text.member("left", session.left)
    text.member("maxAge", session.maxAge)
    text.member("size", session.size.map(Int64.init))
    text.member("kind", session.kind.rawValue)
  }
}

extension Session {
  /// The user's id, unless it is the session's own, with which one could log in.
  package func shownUser(isRevealed: Bool = false) -> String? {
    user.map { user in
      isRevealed || !user.id.holds(id) ? user.text : MaskedJSON.mask
    }
  }
}

extension [UInt8] {
  /// Whether a text has a session's id in it. Short ones are in many texts by chance, and guessed anyway.
  func holds(_ id: SessionID) -> Bool { id.bytes.count >= 8 && firstRange(of: id.bytes) != nil }
}

extension SessionContent.Fault {
  /// Why a session cannot be read, in a few words.
  package var text: String {
    switch self {
    case .tooLarge: "larger than 256 KiB"
    case .tooDeep: "nested too deep"
    case .notJSON: "not JSON"
    case .noCookie: "no cookie in it"
    case .otherType: "not a string"
    }
  }
}
