import ExpressSessions
import Views

extension Failure {
  /// There is nothing at all under a prefix.
  init(noSessionsUnder prefix: String) {
    self.init(
      .configuration, "no key begins with '\(Echo.shown(prefix))' in this database",
      remedy: "check --prefix and the database in the URL; "
        + "an app with cookie-session keeps no sessions in Redis")
  }

  /// - Parameter word: how the session was named; it may be a credential, so it is not repeated.
  init(noSession word: String) {
    let name = SessionID.isShort(word) ? word : SessionID(word).short
    self.init(
      .failed, "there is no session \(name)", remedy: "see 'paasbus sessions list'")
  }

  /// - Parameter id: which session it was about.
  init(_ error: SessionError, _ id: SessionID) {
    switch error {
    case .notFound: self.init(noSession: id.text)
    case .unreadable(let fault):
      self.init(
        .failed, "the session \(id.short) cannot be changed: \(fault.text)",
        remedy: "change it in the app, or end it")
    case .keepsChanging:
      self.init(
        .failed, "the app rewrote the session \(id.short) each time before it could be changed",
        remedy: "try again when fewer requests run")
    }
  }
}
