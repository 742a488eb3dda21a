import ExpressSessions
import Presence

/// One session, with what it holds.
package struct SessionDetails {
  private let session: Session
  private let secret: Int?
  private let secretCount: Int
  private let isRevealed: Bool

  /// - Parameters:
  ///   - secret: which secret signed the cookie by which it was found, counted from 0.
  ///   - secretCount: of how many.
  ///   - isRevealed: whether its id and the members that hold secrets are shown.
  package init(
    session: Session, secret: Int?, secretCount: Int, isRevealed: Bool
  ) {
    (self.session, self.secret) = (session, secret)
    (self.secretCount, self.isRevealed) = (secretCount, isRevealed)
  }

  private var name: String { isRevealed ? session.id.text : session.id.short }

  private func content(isIndented: Bool) -> [UInt8]? {
    (try? session.content.get()).map {
      MaskedJSON($0, of: session.id, isRevealed: isRevealed, isIndented: isIndented).bytes
    }
  }

  /// For people, in UTF-8.
  package var lines: [UInt8] {
    var rows = [("session", Visible.text(name)), ("user", user)]
    rows.append(("left", session.left.map(Self.span) ?? "no expiry"))
    rows.append(("max age", maxAge))
    rows.append(("size", session.size.map(SessionTable.size) ?? "-"))
    if let secret { rows.append(("signed by", "secret \(secret + 1) of \(secretCount)")) }
    var lines: [UInt8] = []
    for (title, text) in rows { lines.add("\(title.padded(to: 11))\(text)\n") }
    if let content = content(isIndented: true) { lines += content + Array("\n".utf8) }
    return lines
  }

  private var maxAge: String {
    if case .failure = session.content { return "-" }
    return session.maxAge.map(Self.span) ?? "until the browser is closed"
  }

  private var user: String {
    if case .failure(let fault) = session.content { return "unreadable: \(fault.text)" }
    return session.shownUser(isRevealed: isRevealed).map {
      "\(Visible.text($0)) (\(Visible.text(session.user?.path ?? "")))"
    } ?? "nobody"
  }

  private static func span(_ milliseconds: Int64) -> String {
    Span(milliseconds: milliseconds).description
  }

  /// For programs: a line.
  package var json: [UInt8] {
    var text = JSONText()
    SessionTable.addMembers(session, name: name, to: &text)
    text.member("secret", secret.map { Int64($0 + 1) })
    if let content = content(isIndented: false) { text.member("content", json: content) }
    return text.line
  }
}
