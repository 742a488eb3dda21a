/// A session as it is in Redis.
public struct Session: Sendable {
  /// Its name.
  public let id: SessionID
  /// How many bytes are stored; nil where the key holds another type than a string.
  public let size: Int?
  /// How long it lasts unless it is used, in ms; nil where it does not end. This is the truth, as the member
  /// `expires` of a cookie is only rewritten when the app changes the session.
  public let left: Int64?
  /// What the app keeps in it, or why that cannot be read.
  public let content: Result<SessionContent, SessionContent.Fault>
  /// The user who is logged in with it; nil for nobody, and where it cannot be read.
  public let user: SessionUser?

  init(
    id: SessionID, size: Int?, left: Int64?,
    content: Result<SessionContent, SessionContent.Fault>, paths: UserPaths
  ) {
    (self.id, self.size, self.left, self.content) = (id, size, left, content)
    user = try? content.get().user(at: paths)
  }

  /// How long the app keeps it after its last request, in ms.
  public var maxAge: Int64? { (try? content.get())?.maxAge }

  /// What kind of session it is.
  public enum Kind: String, Sendable, CaseIterable {
    /// A user is logged in with it.
    case loggedIn = "logged-in"
    /// It has no user.
    case anonymous
    /// The app would not take it for a session, or stores it in another form than JSON.
    case unreadable
  }

  /// What kind of session it is.
  public var kind: Kind {
    if case .failure = content { return .unreadable }
    return user == nil ? .anonymous : .loggedIn
  }
}

/// Why a session could not be created or extended.
public enum SessionError: Error, Sendable, Hashable {
  /// There is no session of that name, or no longer.
  case notFound
  /// It cannot be read, and so not be changed either.
  case unreadable(SessionContent.Fault)
  /// The app rewrote it each of the five times between reading and writing.
  case keepsChanging
}
