import NIOHTTP1
import PaasbusRedis
import Presence

/// Signing in and out.
extension Gateway {
  /// To the form, which leads back to where the request wanted to go.
  func loginRedirect(_ request: Request) -> Response {
    let next = request.path + request.query.encoded
    let depth = request.path.split(separator: "/", omittingEmptySubsequences: false).count - 2
    let root = depth > 0 ? String(repeating: "../", count: min(depth, 8)) : "./"
    return .redirect(to: "\(root)login?next=\(next.percentEncoded)")
  }

  func loginAnswer(_ route: Route, _ request: Request) async -> Response {
    guard let password = configuration.access.password, let doorkeeper, let logins else {
      // Without a password there is nothing to sign in to.
      return request.isForRead
        ? .redirect(to: "./") : problem(.notFound, request)
    }
    guard !request.isForRead else { return await form(request, doorkeeper, password) }
    guard configuration.access.isSameOrigin(request) else {
      return problem(
        .forbidden, request, "this form was not sent by a page of the panel",
        "open the panel and sign in there; behind a proxy, give the panel's name with --host")
    }
    return route == .logout
      ? await signOut(request, logins)
      : await signIn(request, doorkeeper, logins, password)
  }

  private func form(
    _ request: Request, _ doorkeeper: Doorkeeper, _ password: String
  ) async -> Response {
    let next = Access.localPath(request.query["next"])
    if await doorkeeper.decide(request, password: password) == .pass {
      return .redirect(to: "." + next)
    }
    // Right after a log-in the browser should have sent its cookie.
    let problem =
      request.query["signed-in"] == nil
      ? nil
      : "Your browser did not keep the log-in. Open the panel over https, or through an SSH tunnel as localhost."
    return page(LoginPage.html(next: next, problem: problem))
  }

  private func signIn(
    _ request: Request, _ doorkeeper: Doorkeeper, _ logins: Logins, _ password: String
  ) async -> Response {
    guard let text = String(validating: request.body, as: UTF8.self), let form = Query(text[...])
    else { return problem(.badRequest, request) }
    let next = Access.localPath(form["next"])
    switch await doorkeeper.checkForm(form["password"] ?? "", request, password: password) {
    case .pass: break
    case .tooManyFailures:
      return page(
        LoginPage.html(next: next, problem: "Too many wrong passwords. Try again in a minute."),
        .tooManyRequests
      ).with("Retry-After", "\(FailureLimit.window)")
    case .wrongPassword, .needsLogin, .unknown:
      return page(LoginPage.html(next: next, problem: "The password is wrong."), .unauthorized)
    }
    do {
      let token = try await logins.begin()
      let address = "login?signed-in=1&next=\(next.percentEncoded)"
      return .redirect(to: address)
        .with("Set-Cookie", configuration.access.cookie(token, request))
    } catch {
      return page(
        LoginPage.html(
          next: next,
          problem:
            "The log-in could not be kept in Redis. Try again in a moment, or see 'paasbus doctor'."
        ),
        .serviceUnavailable)
    }
  }

  private func signOut(_ request: Request, _ logins: Logins) async -> Response {
    if let token = request.cookie(configuration.access.cookieName(request)) {
      do {
        try await logins.end(token)
      } catch {
        return problem(
          .serviceUnavailable, request, "the log-in could not be ended in Redis",
          "try again in a moment")
      }
    }
    return .redirect(to: "login")
      .with("Set-Cookie", configuration.access.cookie("", request))
  }

  func page(_ html: HTML, _ status: HTTPResponseStatus = .ok) -> Response {
    Response(status, type: Self.htmlType, html.text.utf8)
  }
}
