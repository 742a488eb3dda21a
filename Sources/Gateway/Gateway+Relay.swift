import ExpressSessions
import NIOCore
import NIOHTTP1
import Presence

/// The paths of the relay, which have a log-in of their own: the app's session.
extension Gateway {
  /// The answer below `/relay`; nil for other paths, and where there is no relay.
  func relayAnswer(_ request: Request) -> Answer? {
    guard let relay, let path = RelayRoute(rawValue: request.path) else { return nil }
    let access = RelayAccess(
      hosts: configuration.access.hosts, origins: relay.configuration.origins,
      isLoopback: configuration.access.isLoopback)
    guard access.isHost(request) else {
      return .now(
        .problem(
          HTTPResponseStatus(statusCode: 421), "this host is not served here",
          "use the name that the relay was started for"))
    }
    guard
      path == .events || path == .check
        ? request.isForRead : request.method == .GET || request.isForRead && path == .script
    else {
      return .now(
        Response.problem(.methodNotAllowed, "this method does not work here", "use GET")
          .with("Allow", "GET, HEAD"))
    }
    if path == .script { return .now(Self.relayScript) }
    guard access.isAllowedOrigin(request) else {
      return .now(
        Response.problem(.forbidden, "pages of this origin may not connect", "add it with --origin")
      )
    }
    let allowed = access.sharedOrigin(request)
    if path == .socket, !Self.isHandshake(request) {
      return .now(
        Response.problem(
          .upgradeRequired, "this is a WebSocket", "connect with one, or see /relay/events"
        )
        .with("Upgrade", "websocket"))
    }
    let since: RelayAttachment.Since?
    do {
      since = try Self.since(request)
    } catch {
      return .now(
        Response.problem(.badRequest, "since is not a position", "give an id, or a time in ms"))
    }
    return .later {
      let response = await self.relayAnswer(path, request, since, relay)
      return allowed.map {
        response.with("Access-Control-Allow-Origin", $0)
          .with("Access-Control-Allow-Credentials", "true").with("Vary", "Origin")
      } ?? response
    }
  }

  private func relayAnswer(
    _ path: RelayRoute, _ request: Request, _ since: RelayAttachment.Since?, _ relay: Relay
  ) async -> Response {
    switch await relay.standing(of: request) {
    case .nobody:
      return .problem(.unauthorized, "no user is logged in with this session", "log in to the app")
    case .tooMany:
      return .problem(.tooManyRequests, "there are too many sockets", "close some")
    case .notReady:
      return Response.problem(
        .serviceUnavailable, "the relay is not ready", "try again in a moment"
      )
      .with("Retry-After", "1")
    case .user(let user, let session):
      switch path {
      case .check, .script: return Response(type: "application/json", "{}\n".utf8)
      case .events:
        return Response(type: "text/event-stream; charset=utf-8") { stream in
          try await stream.write(Array("retry: 1000\n\n".utf8))
          let socket = relay.open(.stream(stream), user, session)
          await relay.serve(socket, since: since)
          stream.stayOpen {
            relay.tick(socket, $0)
          } onDrain: {
            relay.drain(socket)
          } onEnd: {
            socket.end(nil)
          }
        }.with("X-Accel-Buffering", "no")
      case .socket:
        let isRaw = request.query["raw"] == "1"
        let executor = relay.feed.connector.thread.executor
        return Response(webSocket: { webSocket in
          let bound = NIOLoopBound(webSocket, eventLoop: relay.feed.connector.thread.loop)
          Task(executorPreference: executor) {
            await Self.serve(bound.value, isRaw, user, session, since, relay)
          }
        })
      }
    }
  }

  private static func serve(
    _ webSocket: WebSocketConnection, _ isRaw: Bool, _ user: [UInt8], _ session: SessionID,
    _ since: RelayAttachment.Since?, _ relay: Relay
  ) async {
    webSocket.onText = { [weak webSocket] bytes in
      if !RelayText.isAllowed(bytes) { webSocket?.close(.policy) }
    }
    let socket = relay.open(.webSocket(webSocket, isRaw: isRaw), user, session)
    webSocket.onTick = { relay.tick(socket, $0) }
    webSocket.onEnd = { socket.end(nil) }
    webSocket.onDrain = { relay.drain(socket) }
    // It may have gone before anybody listened to that.
    guard !webSocket.isEnded else { return socket.end(nil) }
    await relay.serve(socket, since: since)
  }

  /// RFC 6455, 4.2.1.
  private static func isHandshake(_ request: Request) -> Bool {
    func holds(_ name: String, _ word: String) -> Bool {
      request.headers[name].contains { header in
        header.split(separator: ",").contains { $0.trimmingBlanks.lowercased() == word }
      }
    }
    return request.method == .GET && holds("connection", "upgrade") && holds("upgrade", "websocket")
      && request.only("sec-websocket-version") == "13"
      && request.only("sec-websocket-key")?.utf8.count == 24
  }

  private struct Unreadable: Error {}

  /// - Throws: for what is neither a position nor a time.
  private static func since(_ request: Request) throws -> RelayAttachment.Since? {
    guard let text = request.only("last-event-id") ?? request.query["since"], !text.isEmpty else {
      return nil
    }
    if let position = RelayPosition(text) { return .position(position) }
    guard let moment = Int64(text), (0..<(1 << 53)).contains(moment) else { throw Unreadable() }
    return .moment(moment)
  }

  private static let relayScript = Response(
    type: "text/javascript; charset=utf-8", PackageResources.relay_js
  ).with("Cache-Control", "max-age=300")
}

enum RelayRoute: String {
  case socket = "/relay"
  case events = "/relay/events"
  case check = "/relay/check"
  case script = "/relay.js"
}

/// Which pages may connect to the relay.
struct RelayAccess {
  let hosts: Set<String>
  let origins: Set<String>
  let isLoopback: Bool

  func isHost(_ request: Request) -> Bool {
    guard !hosts.isEmpty else { return true }
    let names = isLoopback ? hosts.union(Access.loopbackNames) : hosts
    return request.host.map(names.contains) ?? true
  }

  /// Whether the page is of this host, or of an origin that is named (RFC 6454). Without an origin only what is no
  /// browser, as far as it says.
  func isAllowedOrigin(_ request: Request) -> Bool {
    guard let origin = request.only("origin") else {
      let isSilent = !request.headers.contains(name: "origin")
      guard let site = request.only("sec-fetch-site") else {
        return isSilent && !request.headers.contains(name: "sec-fetch-site")
      }
      // A browser leaves the origin out for what its own page reads.
      return isSilent && site == "same-origin"
    }
    if origins.contains(origin.lowercased()) { return true }
    for scheme in ["http://", "https://"] where origin.hasPrefix(scheme) {
      return request.only("host")?.lowercased() == origin.dropFirst(scheme.count).lowercased()
    }
    return false
  }

  /// The origin of a page on another host that may read the answer; nil for a page of this host.
  func sharedOrigin(_ request: Request) -> String? {
    request.only("origin").flatMap { origins.contains($0.lowercased()) ? $0 : nil }
  }
}
