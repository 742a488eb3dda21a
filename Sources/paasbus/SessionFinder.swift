import ExpressSessions
import Views

/// Finds the sessions that words of the command line name.
struct SessionFinder {
  struct Found {
    var id: SessionID
    /// Which secret signed the cookie, counted from 0; nil for what is no cookie.
    var secret: Int?
    var secretCount = 0
  }

  let store: SessionStore
  private let setup: Setup
  private let options: SessionSecretOptions

  init(_ store: SessionStore, _ setup: Setup, _ options: SessionSecretOptions) {
    (self.store, self.setup, self.options) = (store, setup, options)
  }

  /// - Throws: ``Failure`` where there is none, or for a cookie that is not signed with one of the secrets,
  ///   `RedisError`.
  func find(_ word: String) async throws -> Found {
    if let cookie = Self.cookie(word) { return try verify(cookie) }
    // The whole key is taken for the id behind it.
    let named =
      [word] + (word.hasPrefix(store.prefix) ? [String(word.dropFirst(store.prefix.count))] : [])
    for id in named.map({ SessionID($0) }) where try await store.read(id) != nil {
      return Found(id: id)
    }
    // A short form as it was shown, in a table or in JSON.
    let matches = try await store.ids { $0.short == word || Visible.text($0.short) == word }
    guard let matches else { throw Failure(noSessionsUnder: store.prefix) }
    guard let id = matches.first else { throw Failure(noSession: word) }
    return Found(id: id)
  }

  private func verify(_ cookie: String) throws -> Found {
    let secrets = try SessionSecrets.configured(options, setup)
    guard let verified = secrets.verify(cookie) else {
      throw Failure(
        .failed,
        "the cookie is not signed with \(secrets.count == 1 ? "the secret" : "one of the secrets")",
        remedy: "check that it is whole, and give the app's secrets with --secret-file")
    }
    return Found(id: verified.id, secret: verified.secret, secretCount: secrets.count)
  }

  /// The value of a cookie, which may stand there with the cookie's name; nil for another text.
  private static func cookie(_ word: String) -> String? {
    if SessionSecrets.isCookie(word) { return word }
    guard let equals = word.firstIndex(of: "=") else { return nil }
    let value = CookieHeader.value(of: String(word[..<equals]), in: word)
    return value.flatMap { SessionSecrets.isCookie($0) ? $0 : nil }
  }
}
