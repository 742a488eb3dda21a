import ExpressSessions
import Presence

/// What became of sessions that were ended.
package struct SessionEndingReport {
  /// More are only counted.
  private static let maxNamed = 20

  private let hasManyUsers: Bool

  /// - Parameter hasManyUsers: whether the sessions of all users were ended.
  package init(hasManyUsers: Bool) {
    self.hasManyUsers = hasManyUsers
  }

  /// Says which sessions were ended.
  package func ended(_ endings: [SessionEnding]) -> [UInt8] {
    guard !endings.isEmpty else { return Array("there was no session to end\n".utf8) }
    guard !hasManyUsers, endings.count <= Self.maxNamed else {
      return Array("ended \(count(endings.count, "session"))\n".utf8)
    }
    return Self.sorted(endings).flatMap { ending in
      let user = Self.user(ending).map { " of the user \(Visible.text($0))" } ?? ""
      return Array("ended \(Visible.text(ending.id.short))\(user)\n".utf8)
    }
  }

  /// Says which sessions came back.
  package func returned(_ endings: [SessionEnding]) -> [UInt8] {
    Self.sorted(endings.filter { $0.returns > 0 }).flatMap { ending in
      let times = ending.returns == 1 ? "once" : "\(ending.returns) times"
      return Array(
        "\(Visible.text(ending.id.short)) came back \(times) and was ended again\n".utf8)
    }
  }

  /// An object per session, each a line.
  ///
  /// - Parameter isWatched: whether it is known what became of them.
  package func json(_ endings: [SessionEnding], isWatched: Bool = true) -> [UInt8] {
    Self.sorted(endings).flatMap { ending in
      var text = JSONText()
      text.member("session", ending.id.short)
      text.member("user", Self.user(ending))
      text.member("returns", Int64(ending.returns))
      if isWatched { text.member("gone", ending.isGone) }
      return text.line
    }
  }

  private static func user(_ ending: SessionEnding) -> String? {
    ending.user.map { $0.id.holds(ending.id) ? MaskedJSON.mask : $0.text }
  }

  private static func sorted(_ endings: [SessionEnding]) -> [SessionEnding] {
    endings.sorted { ($0.user?.text ?? "", $0.id.short) < ($1.user?.text ?? "", $1.id.short) }
  }
}
