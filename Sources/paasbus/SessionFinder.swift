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
    let cookie = Self.cookie(in: word)
    if let cookie, SessionSecrets.isCookie(cookie) {
      let found = try verify(cookie)
      guard try await store.read(found.id) != nil else { throw Failure(noSession: found.id.text) }
      return found
    }
    // The whole key is taken for the id behind it.
    let withoutPrefix =
      word.hasPrefix(store.prefix) ? [String(word.dropFirst(store.prefix.count))] : []
    for id in ([word] + withoutPrefix).map({ SessionID($0) }) where try await store.read(id) != nil
    {
      return Found(id: id)
    }
    if cookie != nil, !SessionID.isShort(word) {
      throw Self.unsigned(try .configured(options, setup))
    }
    // A short form as it was shown, in a table or in JSON.
    let matches = try await store.ids { $0.short == word || Visible.text($0.short) == word }
    guard let matches else { throw Failure(noSessionsUnder: store.prefix) }
    guard let id = matches.first else { throw Failure(noSession: word) }
    return Found(id: id)
  }

  private func verify(_ cookie: String) throws -> Found {
    let secrets = try SessionSecrets.configured(options, setup)
    guard let verified = secrets.verify(cookie) else { throw Self.unsigned(secrets) }
    return Found(id: verified.id, secret: verified.secret, secretCount: secrets.count)
  }

  private static func unsigned(_ secrets: SessionSecrets) -> Failure {
    Failure(
      .failed,
      "the cookie is not signed with "
        + (secrets.count == 1 ? "the secret" : "one of the secrets"),
      remedy: "check that it is whole, and give the app's secrets with --secret-file")
  }

  /// The value of a cookie, as one may copy it: alone, in quotes, with the cookie's name, or with a whole header;
  /// nil for another text. It may be a broken one.
  static func cookie(in word: String) -> String? {
    var rest = Substring(word.trimmingBlanks)
    for name in ["cookie:", "set-cookie:"] where rest.lowercased().hasPrefix(name) {
      rest = rest.dropFirst(name.count)
    }
    for part in rest.split(separator: ";") {
      let value = part.firstIndex(of: "=").map { part[part.index(after: $0)...] }
      for text in [value, part].compactMap(\.self) {
        var text = text.trimmingBlanks
        if text.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") {
          text = String(text.dropFirst().dropLast())
        }
        if ["s:", "s%3a", "s%253a"].contains(where: { text.lowercased().hasPrefix($0) }) {
          return text
        }
      }
    }
    return nil
  }
}
