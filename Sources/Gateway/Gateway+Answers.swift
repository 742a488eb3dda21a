import NIOCore
import NIOHTTP1
import PaasbusRedis
import Presence

/// From a request to its answer: may it be asked so, may this client ask, and then what it leads to.
extension Gateway: HTTPServer.Site {
  func answer(_ original: Request) -> Answer {
    guard let path = strippedPath(original.path) else {
      let last = configuration.access.basePath.split(separator: "/").last.map(String.init) ?? ""
      return .now(.redirect(.permanentRedirect, to: "\(last)/\(original.query.encoded)"))
    }
    let request = original.at(path)
    let route = Route(path)
    if let route, route.isForProbes { return .now(probe(route, request)) }
    if let answer = relayAnswer(request) { return dressed(answer, for: request) }
    if let refusal = configuration.access.refusal(of: request) {
      return .now(dressed(answer(to: refusal, request), for: request))
    }
    guard let route, configuration.showsPanel || route.isOfServer else {
      return guarded(request) { self.problem(.notFound, request) }
    }
    guard route.methods.contains(request.method) else {
      let allowed = route.methods.map(\.rawValue).joined(separator: ", ")
      return .now(dressed(problem(.methodNotAllowed, request).with("Allow", allowed), for: request))
    }
    if let type = route.mediaType, !request.accepts(type) {
      return .now(dressed(problem(.notAcceptable, request), for: request))
    }
    let isOpen = route.isOpen || configuration.access.password == nil
    if let file = file(route), isOpen { return .now(dressed(file, for: request)) }
    if route == .login || route == .logout {
      return .later { self.dressed(await self.loginAnswer(route, request), for: request) }
    }
    if route == .metrics, configuration.access.opensMetrics {
      return .later { self.dressed(await self.content(route, request), for: request) }
    }
    return guarded(request) { await self.content(route, request) }
  }

  /// Answers once the log-in has been looked at.
  private func guarded(
    _ request: Request, _ content: @escaping @Sendable () async -> Response
  ) -> Answer {
    guard let password = configuration.access.password, let doorkeeper else {
      return .later { self.dressed(await content(), for: request) }
    }
    return .later {
      let decision = await doorkeeper.decide(request, password: password)
      let response =
        decision == .pass ? await content() : self.answer(to: decision, request)
      return self.dressed(response, for: request)
    }
  }

  var doorkeeper: Doorkeeper? {
    logins.map { Doorkeeper(access: configuration.access, logins: $0, failures: failures) }
  }

  /// Without the base path, which a proxy in front may have taken off already; nil for the base path without
  /// the slash at its end.
  private func strippedPath(_ path: String) -> String? {
    let base = configuration.access.basePath
    guard !base.isEmpty else { return path }
    if path == base { return nil }
    return path.hasPrefix(base + "/") ? String(path.dropFirst(base.count)) : path
  }

  // MARK: Refusals

  private func answer(to refusal: Access.Refusal, _ request: Request) -> Response {
    switch refusal {
    case .wrongHost:
      return problem(
        .misdirectedRequest, request,
        "this panel is not served under that name",
        "open it as localhost, or by a name that it was started with (--host NAME)")
    case .proxied:
      return problem(
        .forbidden, request,
        "this panel has no log-in, and this request came through a proxy",
        "set PAASBUS_PANEL_PASSWORD, or give --no-login where the proxy does the log-in")
    case .insecure:
      guard let host = request.only("host") else { return problem(.badRequest, request) }
      let path = (configuration.access.basePath + request.path)
        .split(separator: "/", omittingEmptySubsequences: false)
        .map(\.percentEncoded).joined(separator: "/")
      return .redirect(.permanentRedirect, to: "https://\(host)\(path)\(request.query.encoded)")
    case .insecureCredentials:
      return problem(
        .forbidden, request, "this request came over an unencrypted connection", "use https"
      ).closing
    }
  }

  private func answer(to decision: Doorkeeper.Decision, _ request: Request) -> Response {
    switch decision {
    case .pass: return Response(.ok)
    case .unknown:
      return problem(
        .serviceUnavailable, request, "Redis cannot be asked whether you are signed in",
        "try again in a moment"
      ).with("Retry-After", "2")
    case .tooManyFailures:
      return problem(
        .tooManyRequests, request, "too many wrong passwords", "try again in a minute"
      ).with("Retry-After", "\(FailureLimit.window)")
    case .needsLogin, .wrongPassword:
      let isPage = !Route.isOfAPI(request.path) && request.path != "/metrics"
      if decision == .needsLogin, isPage, request.isForRead, request.path != "/panel.js" {
        return loginRedirect(request)
      }
      return problem(
        .unauthorized, request,
        decision == .wrongPassword ? "the password is wrong" : "this needs a log-in",
        "send the panel's password as a Bearer token"
      ).with("WWW-Authenticate", "Bearer realm=\"paasbus\"")
    }
  }

  /// An error as a page, or as JSON below `/api`.
  func problem(
    _ status: HTTPResponseStatus, _ request: Request, _ text: String? = nil,
    _ remedy: String? = nil
  ) -> Response {
    let words = Self.words(status)
    let (text, remedy) = (text ?? words.problem, remedy ?? words.remedy)
    if Route.isOfAPI(request.path) { return .problem(status, text, remedy) }
    let depth = request.path.split(separator: "/", omittingEmptySubsequences: false).count - 2
    let root = String(repeating: "../", count: max(0, min(depth, 8)))
    let page = MessagePage.html(
      "\(status.code) \(status.reasonPhrase)", text.sentence, remedy: remedy.sentence, root: root)
    return Response(status, type: Self.htmlType, page.text.utf8)
  }

  /// The answer to what is no request.
  func refusal(_ status: HTTPResponseStatus, target: String?) -> Response {
    let path = strippedPath(target.map { String($0.prefix { $0 != "?" }) } ?? "/") ?? "/"
    let request = Request(
      method: .GET, path: path, query: Query(), headers: [:], host: nil, peer: "")
    return dressed(problem(status, request), for: request)
  }

  private static func words(_ status: HTTPResponseStatus) -> (problem: String, remedy: String) {
    switch status {
    case .notFound: ("there is nothing here", "see the panel's first page")
    case .methodNotAllowed: ("this method does not work here", "use one of those in Allow")
    case .notAcceptable: ("this is not available in the form you asked for", "change Accept")
    case .payloadTooLarge: ("the body is too large", "send at most 64 KiB")
    case .uriTooLong: ("the address is too long", "send at most 8 KiB")
    case .requestHeaderFieldsTooLarge: ("the headers are too large", "send at most 16 KiB")
    case .requestTimeout: ("the request did not arrive in time", "send it within 10 seconds")
    case .httpVersionNotSupported: ("this HTTP version is not supported", "use HTTP/1.1")
    case .notImplemented: ("this transfer encoding is not supported", "use chunked alone")
    case .expectationFailed: ("this expectation is not supported", "leave out the header Expect")
    default: ("the request is not valid", "check its address and headers")
    }
  }

  static let htmlType = "text/html; charset=utf-8"

  // MARK: Headers

  private func dressed(_ answer: Answer, for request: Request) -> Answer {
    switch answer {
    case .now(let response): .now(dressed(response, for: request))
    case .later(let work): .later { self.dressed(await work(), for: request) }
    }
  }

  /// With the headers that all answers have.
  private func dressed(_ original: Response, for request: Request) -> Response {
    var response = original
    let isHTML = response.headers.first(name: "content-type") == Self.htmlType
    if isHTML { response.headers.add(name: "Content-Security-Policy", value: Self.policy) }
    response.headers.add(name: "X-Content-Type-Options", value: "nosniff")
    response.headers.add(name: "Referrer-Policy", value: "no-referrer")
    if !response.headers.contains(name: "cache-control") {
      response.headers.add(name: "Cache-Control", value: "no-store")
    }
    if configuration.access.password != nil, configuration.access.basePath.isEmpty,
      request.headers["x-forwarded-proto"].last?.lowercased().hasSuffix("https") == true
    {
      response.headers.add(name: "Strict-Transport-Security", value: "max-age=31536000")
    }
    return response
  }

  private static let policy =
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    + "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    + "require-trusted-types-for 'script'; trusted-types 'none'"
}

extension Response {
  /// An error as JSON.
  static func problem(_ status: HTTPResponseStatus, _ text: String, _ remedy: String) -> Response {
    var json = JSONText()
    json.always("error", text)
    json.always("remedy", remedy)
    return Response(status, type: "application/json", json.line)
  }
}

extension String {
  /// As a sentence of its own.
  var sentence: String { prefix(1).uppercased() + dropFirst() + "." }
}
