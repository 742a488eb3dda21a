/// What is sent first on every connection: credentials, database and name, and the first questions.
///
/// Providers put dummy user names into their URLs (Redis To Go, Redis Cloud, Heroku), which a
/// server with ACLs refuses and one before Redis 6 does not understand; for those the password is
/// tried alone, once, on the same connection.
struct RedisLogin {
  var endpoint: RedisEndpoint
  var name: String?
  /// Further commands that are sent with the login, which saves the time of another round trip.
  var questions: [RedisCommand] = []

  /// Whether it contains commands that are useful but not necessary.
  var hasExtras: Bool { name != nil || !questions.isEmpty }

  /// The same login without those commands.
  var bare: RedisLogin { RedisLogin(endpoint: endpoint) }

  /// - Returns: what the server accepted, and its replies to the questions, errors among them.
  /// - Throws: ``RedisError``.
  func perform(
    on connection: RedisConnection
  ) async throws -> (login: RedisConnection.Login, answers: [RedisValue]) {
    let replies = try await connection.pipeline(authentication + setup + questions)
    guard let answer = authentication.isEmpty ? nil : replies.first,
      case .error(let text) = answer
    else {
      let login: RedisConnection.Login = authentication.isEmpty ? .none : .asGiven
      return (login, try check(replies.dropFirst(authentication.count)))
    }
    let login = try await recover(from: text, on: connection)
    let again = try await connection.pipeline(setup + questions)
    return (login, try check(again[...]))
  }

  private var authentication: [RedisCommand] {
    guard let password = endpoint.password else { return [] }
    guard let user = endpoint.username else { return [RedisCommand("AUTH", password)] }
    return [RedisCommand("AUTH", user, password)]
  }

  private var setup: [RedisCommand] {
    var commands = [RedisCommand("PING")]
    if endpoint.database != 0 { commands.append(RedisCommand("SELECT", "\(endpoint.database)")) }
    if let name { commands.append(RedisCommand("CLIENT", "SETNAME", name)) }
    return commands
  }

  /// Tries to log in after a refusal; the set-up commands have to be sent again afterwards.
  private func recover(
    from text: String, on connection: RedisConnection
  ) async throws -> RedisConnection.Login {
    // The server has no password, so only its answers to the other commands count.
    if text.contains("without any password configured") || text.contains("no password is set") {
      return .notNeeded
    }
    let mayBeDummy = text.hasPrefix("WRONGPASS") || text.contains("wrong number of arguments")
    guard mayBeDummy, endpoint.username != nil, let password = endpoint.password else {
      throw RedisError.server(
        text.hasPrefix("ERR invalid password") ? "WRONGPASS \(text)" : text)
    }
    let second = try await connection.send(RedisCommand("AUTH", password), orElse: text)
    if case .error(let text) = second { throw RedisError.server(text) }
    return .passwordAlone
  }

  /// - Returns: the replies to the questions.
  private func check(_ replies: ArraySlice<RedisValue>) throws -> [RedisValue] {
    // A name is useful to others but not necessary for us, so its refusal is not an error. A server
    // without SELECT is not an error either, since keys and messages carry the app's name. But a
    // user without permission to SELECT would use another database than other users of the same
    // URL. MISCONF is about writes, although Redis also answers it to PING, which writes nothing.
    if case .error(let text)? = replies.first, !text.hasPrefix("MISCONF") {
      throw RedisError.server(text)
    }
    if endpoint.database != 0, case .error(let text)? = replies.dropFirst().first {
      if text.contains("out of range") { throw RedisError(.noDatabase(endpoint.database)) }
      if text.hasPrefix("NOPERM") { throw RedisError.server(text) }
    }
    return Array(replies.dropFirst(setup.count))
  }
}

extension RedisConnection {
  /// The reply to a second attempt. Where the server has no password, that counts as accepted.
  fileprivate func send(_ command: RedisCommand, orElse first: String) async throws -> RedisValue {
    let reply = try await pipeline([command]).first ?? .null
    guard case .error(let text) = reply else { return reply }
    if text.contains("without any password configured") { return .status("OK") }
    return .error(text.hasPrefix("ERR invalid password") ? "WRONGPASS \(text)" : text)
  }
}
