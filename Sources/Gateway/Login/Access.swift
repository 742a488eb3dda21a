import NIOHTTP1

/// Which requests may see the panel, as was chosen when it was started. A value without I/O.
package struct Access: Sendable {
  /// nil where there is no log-in.
  package var password: String?
  /// Whether only this machine can reach us.
  package var isLoopback: Bool
  /// Whether a proxy in front of us does the log-in.
  package var trustsProxy: Bool
  /// Other names by which the panel is asked.
  package var hosts: Set<String>
  /// Whether the platform's router is the last who wrote `X-Forwarded-For`.
  package var isBehindRouter: Bool
  package var opensMetrics: Bool
  /// Empty, or as `/ops`.
  package var basePath: String

  package init(
    password: String? = nil, isLoopback: Bool = true, trustsProxy: Bool = false,
    hosts: Set<String> = [], isBehindRouter: Bool = false, opensMetrics: Bool = false,
    basePath: String = ""
  ) {
    self.password = password
    self.isLoopback = isLoopback
    self.trustsProxy = trustsProxy
    self.hosts = hosts
    self.isBehindRouter = isBehindRouter
    self.opensMetrics = opensMetrics
    self.basePath = basePath
  }

  /// The name of a host as requests tell it, without a port and in lower case; nil for what is none.
  package static func hostName(_ text: String) -> String? { RequestRules.hostName(text) }

  enum Refusal: Equatable {
    /// The request names a host that is not ours.
    case wrongHost
    /// It came through a proxy, and nothing asks for a log-in.
    case proxied
    /// It came over HTTP to a proxy: to be repeated over HTTPS.
    case insecure
    /// The same with credentials or a form, which must not be repeated.
    case insecureCredentials
  }

  static let loopbackNames: Set<String> = ["localhost", "127.0.0.1", "[::1]"]
  private static func isOfProxy(_ header: String) -> Bool {
    let name = header.lowercased()
    return name == "forwarded" || name == "via" || name.hasPrefix("x-forwarded-")
  }

  /// What is wrong with how a request came, before its log-in is looked at.
  func refusal(of request: Request) -> Refusal? {
    // Where nothing but the address protects us, the host must be this machine, as otherwise a web page could
    // have its visitors' browsers ask us under a name of its own (DNS rebinding).
    if isLoopback && password == nil || !hosts.isEmpty {
      let names = isLoopback ? hosts.union(Self.loopbackNames) : hosts
      // Only HTTP/1.0 may name none, which no browser speaks.
      if let host = request.host, !names.contains(host) { return .wrongHost }
    }
    guard password != nil else {
      let isProxied = request.headers.contains { Self.isOfProxy($0.name) }
      return isLoopback && !trustsProxy && isProxied ? .proxied : nil
    }
    guard forwardedScheme(request) == "http" else { return nil }
    let hasCredentials =
      request.headers.contains(name: "authorization") || !request.isForRead
    return hasCredentials ? .insecureCredentials : .insecure
  }

  private func forwardedScheme(_ request: Request) -> String? {
    request.headers["x-forwarded-proto"].last?.split(separator: ",").last?.trimmingBlanks
      .lowercased()
  }

  /// Whether the browser's connection is encrypted, as far as we can tell: everywhere but on this machine.
  func isSecure(_ request: Request) -> Bool {
    forwardedScheme(request) == "https" || !isLoopback
  }

  /// The client for which failed log-ins are counted.
  func client(_ request: Request) -> String {
    guard isBehindRouter,
      let last = request.headers["x-forwarded-for"].last?.split(separator: ",").last
    else { return request.peer }
    return last.trimmingBlanks
  }

  /// Whether a form was sent by a page of ours (Fetch Metadata, else RFC 6454).
  func isSameOrigin(_ request: Request) -> Bool {
    if let site = request.only("sec-fetch-site") { return site == "same-origin" }
    guard let origin = request.only("origin"),
      let scheme = ["http://", "https://"].first(where: { origin.hasPrefix($0) })
    else { return false }
    let place = String(origin.dropFirst(scheme.count)).lowercased()
    if let host = request.only("host"), place == host.lowercased() { return true }
    return RequestRules.hostName(place).map(hosts.contains) ?? false
  }

  // MARK: Cookie

  /// The name of the cookie that holds a log-in. Browsers take `__Host-` only with `Secure` and for all paths.
  func cookieName(_ request: Request) -> String {
    isSecure(request) && basePath.isEmpty ? "__Host-paasbus" : "paasbus"
  }

  /// `Set-Cookie` for a log-in; for an empty token, one that ends it.
  func cookie(_ token: String, _ request: Request) -> String {
    var text = "\(cookieName(request))=\(token); Path=\(basePath)/; HttpOnly; SameSite=Lax"
    if isSecure(request) { text += "; Secure" }
    // At most as long as a log-in lasts.
    return text + "; Max-Age=\(token.isEmpty ? 0 : 7 * 24 * 3600)"
  }

  /// Where to go after a log-in: a path of ours, else the panel.
  static func localPath(_ next: String?) -> String {
    guard let next, next.hasPrefix("/"), !next.hasPrefix("//"), !next.contains("\\"),
      next.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
    else { return "/" }
    return next
  }
}
