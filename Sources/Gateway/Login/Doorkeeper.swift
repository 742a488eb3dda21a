import NIOHTTP1
import PaasbusRedis

/// Lets requests pass or not, by what they bring: a cookie of a log-in, a Bearer token, or Basic credentials.
struct Doorkeeper: Sendable {
  enum Decision: Sendable, Equatable {
    case pass
    /// There is nothing to pass with, or it no longer holds.
    case needsLogin
    case wrongPassword
    case tooManyFailures
    /// Redis cannot be asked whether the log-in holds.
    case unknown
  }

  let access: Access
  let logins: Logins
  let failures: FailureLimit

  /// - Parameter password: the panel's.
  func decide(_ request: Request, password: String) async -> Decision {
    if let given = Self.credentials(of: request) {
      // A right one passes whatever others have tried from the same address.
      if Secrets.isEqual(given, password) { return .pass }
      return await refuse(request)
    }
    guard let token = request.cookie(access.cookieName(request)) else { return .needsLogin }
    return switch await logins.standing(of: token) {
    case .valid: .pass
    case .invalid: .needsLogin
    case .unknown: .unknown
    }
  }

  /// Whether the log-in that a request came with still holds; nil where it came with the password itself.
  func lasting(_ request: Request) -> (@Sendable () async -> Bool)? {
    guard Self.credentials(of: request) == nil,
      let token = request.cookie(access.cookieName(request))
    else { return nil }
    // Not the request itself, which a stream would keep for as long as it lasts.
    return { [logins] in await logins.standing(of: token) != .invalid }
  }

  /// Looks at a password from the form.
  func checkForm(_ given: String, _ request: Request, password: String) async -> Decision {
    if await failures.isExhausted(access.client(request)) { return .tooManyFailures }
    if Secrets.isEqual(given, password) { return .pass }
    return await refuse(request)
  }

  private func refuse(_ request: Request) async -> Decision {
    let client = access.client(request)
    if await failures.isExhausted(client) { return .tooManyFailures }
    await failures.note(client)
    return .wrongPassword
  }

  private static func credentials(of request: Request) -> String? {
    request.only("authorization").flatMap {
      Secrets.bearerToken($0) ?? Secrets.basicPassword($0)
    }
  }
}
