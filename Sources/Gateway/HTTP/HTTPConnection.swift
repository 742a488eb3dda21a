import NIOCore
import NIOHTTP1
import NIOWebSocket

/// One connection of a client: reads requests, has them answered one after the other, and writes the answers.
///
/// Lives on the event loop. Deadlines are looked at by ``HTTPConnections``, which sweeps over all connections
/// every two seconds, so that no connection needs a timer of its own.
final class HTTPConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    /// Between two requests.
    case idle
    /// The first bytes of a head have come.
    case readingHead
    case readingBody(HTTPRequestHead, [UInt8])
    case answering(HTTPRequestHead)
    case streaming(ResponseStream)
    case webSocket(WebSocketConnection)
    /// The last answer has been written; what still comes is not read.
    case closing
  }

  /// How long a whole request may take from its first byte, and the first byte on a new connection.
  private static let requestLimit = TimeAmount.seconds(10)
  /// How long a connection may be idle between requests. Heroku's router keeps its connections for 90 s.
  private static let idleLimit = TimeAmount.seconds(95)
  /// How long an answer may take, and how long a client may leave the last of it unread.
  private static let answerLimit = TimeAmount.seconds(60)
  private static let lingerLimit = TimeAmount.seconds(2)

  private let server: HTTPServer
  private var context: ChannelHandlerContext?
  private var state = State.idle
  private var deadline: NIODeadline
  private var isDraining = false
  /// Bytes since the last line ended, by which an address that is too long is told from too many headers.
  private var lineLength = 0
  private var hasFirstLine = false
  /// A request that is to be answered once the one before has been.
  private var isReady = false
  private var isAnswering = false
  init(server: HTTPServer) {
    self.server = server
    deadline = .now() + Self.requestLimit
  }

  func channelActive(context: ChannelHandlerContext) {
    self.context = context
    server.connections.add(self)
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    let before = state
    self.context = nil
    state = .closing
    if case .streaming(let stream) = before { stream.connectionEnded() }
    if case .webSocket(let socket) = before { socket.connectionEnded() }
    server.connections.remove(self)
    context.fireChannelInactive()
  }

  // MARK: Time

  /// Ends the connection where its time is over; called every two seconds.
  func checkDeadline(_ now: NIODeadline) {
    switch state {
    case .streaming(let stream): stream.tick(now)
    case .webSocket(let socket): socket.tick(now)
    case .readingHead, .readingBody:
      if now >= deadline { refuse(.requestTimeout) }
    case .idle, .answering, .closing:
      if now >= deadline { context?.close(promise: nil) }
    }
  }

  /// Bytes came in, which may be the beginning of a request.
  ///
  /// - Returns: whether they are of use.
  func receive(_ bytes: ByteBuffer) -> Bool {
    switch state {
    case .closing: return false
    case .streaming(let stream) where stream.staysOpen: return false
    case .idle:
      state = .readingHead
      (lineLength, hasFirstLine) = (0, false)
      deadline = .now() + Self.requestLimit
    case .readingHead, .readingBody, .answering, .streaming, .webSocket: break
    }
    guard case .readingHead = state, !hasFirstLine else { return true }
    hasFirstLine = bytes.readableBytesView.contains(UInt8(ascii: "\n"))
    lineLength += bytes.readableBytes
    return true
  }

  // MARK: Requests

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch (unwrapInboundIn(data), state) {
    case (.head(let head), .idle), (.head(let head), .readingHead): begin(head)
    case (.body(let bytes), .readingBody(let head, var body)):
      state = .idle
      body += bytes.readableBytesView
      state = .readingBody(head, body)
      if body.count > RequestRules.maxBody { refuse(.payloadTooLarge) }
    case (.end, .readingBody):
      isReady = true
      answerAll()
    default: break
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    state = .readingBody(head, [])
    if let problem = RequestRules.problem(of: head) { return refuse(problem) }
    if head.method == .CONNECT { return refuse(.methodNotAllowed) }
    if head.headers.contains(name: "expect") {
      context?.writeAndFlush(
        wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: .continue))),
        promise: nil)
    }
  }

  /// Answers each request that is there. An answer lets the pipeline hand over the next request at once, from
  /// within this loop, so that a thousand of them in one packet do not nest.
  private func answerAll() {
    guard !isAnswering else { return }
    isAnswering = true
    while isReady {
      isReady = false
      answer()
    }
    isAnswering = false
    context?.flush()
  }

  private func answer() {
    guard case .readingBody(let head, let body) = state, let context else { return }
    state = .answering(head)
    deadline = .now() + Self.answerLimit
    guard let target = RequestRules.target(of: head.uri) else {
      return send(server.refusal(.badRequest, target: head.uri))
    }
    let host = target.host ?? head.headers.first(name: "host").flatMap(RequestRules.hostName)
    let request = Request(
      method: head.method, path: target.path, query: target.query, headers: head.headers,
      host: host, body: body, peer: context.remoteAddress?.ipAddress ?? "")
    switch server.answer(request) {
    case .now(let response): send(response)
    case .later(let work):
      let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
      Task(executorPreference: server.executor) {
        let response = await work()
        bound.value.finish(response)
      }
    }
  }

  private func finish(_ response: Response) {
    guard case .answering = state else { return }
    send(response)
    if isReady { answerAll() }
    context?.flush()
  }

  /// Refuses what is being read, and ends the connection.
  ///
  /// More of it may still come. To close with unread bytes would reset the connection, and the client might lose
  /// the answer; so we only stop writing, and the sweep closes what the client does not.
  private func refuse(_ status: HTTPResponseStatus) {
    guard let context, let output = beforePipeline else { return }
    var request: HTTPRequestHead?
    if case .readingBody(let head, _) = state { request = head }
    state = .closing
    deadline = .now() + Self.lingerLimit
    let response = server.refusal(status, target: request?.uri)
    guard case .whole(let body) = response.body else { return }
    var head = HTTPResponseHead(
      version: .http1_1, status: response.status, headers: response.headers)
    head.headers.add(name: "Content-Length", value: String(body.readableBytes))
    head.headers.add(name: "Date", value: server.connections.date)
    head.headers.add(name: "Connection", value: "close")
    output.write(NIOAny(HTTPServerResponsePart.head(head)), promise: nil)
    if request?.method != .HEAD {
      output.write(NIOAny(HTTPServerResponsePart.body(.byteBuffer(body))), promise: nil)
    }
    let written = context.eventLoop.makePromise(of: Void.self)
    output.writeAndFlush(NIOAny(HTTPServerResponsePart.end(nil)), promise: written)
    written.futureResult.whenComplete { [bound = context.loopBound] _ in
      bound.value.close(mode: .output, promise: nil)
    }
  }

  /// Where answers go past the handler that pairs them with requests, which takes none before a request is whole.
  private var beforePipeline: ChannelHandlerContext? {
    try? context?.pipeline.syncOperations.context(
      handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let error = error as? HTTPParserError else {
      context.close(promise: nil)
      return
    }
    switch state {
    case .idle, .readingHead, .readingBody:
      let isLongLine = !hasFirstLine && lineLength > RequestRules.maxTarget
      let status: HTTPResponseStatus =
        error == .headerOverflow
        ? (isLongLine ? .uriTooLong : .requestHeaderFieldsTooLarge)
        : error == .invalidVersion ? .httpVersionNotSupported : .badRequest
      refuse(status)
    case .answering, .streaming, .webSocket, .closing: context.close(promise: nil)
    }
  }

  // MARK: Answers

  private func send(_ response: Response) {
    guard let context, case .answering(let request) = state else { return }
    var head = HTTPResponseHead(
      version: .http1_1, status: response.status, headers: response.headers)
    // Behind a request that asks for another protocol, the parser reads no further.
    let closes =
      isDraining || response.closesConnection || request.version.minor == 0
      || !request.isKeepAlive || request.headers.contains(name: "upgrade")
    head.headers.add(name: "Date", value: server.connections.date)
    if closes { head.headers.add(name: "Connection", value: "close") }
    switch response.body {
    case .whole(let body):
      if response.status.mayHaveResponseBody {
        head.headers.add(name: "Content-Length", value: String(body.readableBytes))
      }
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      if request.method != .HEAD, body.readableBytes > 0 {
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
      }
      end(closes: closes)
    case .stream(let streaming):
      // An HTTP/1.0 client knows no chunks: the end of the connection is the end of the body.
      let isChunked = request.version.minor > 0 && request.method != .HEAD
      if isChunked { head.headers.add(name: "Transfer-Encoding", value: "chunked") }
      if request.version.minor == 0 { head.version = .http1_0 }
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      guard request.method != .HEAD else { return end(closes: closes) }
      context.flush()
      stream(streaming, isChunked: isChunked, closes: closes)
    case .webSocket(let upgrade): beginWebSocket(request, response.headers, upgrade)
    }
  }

  /// Answers the handshake (RFC 6455, 4.2.2), and takes the handlers of HTTP out of the way.
  private func beginWebSocket(
    _ request: HTTPRequestHead, _ headers: HTTPHeaders, _ upgrade: @escaping Response.Upgrade
  ) {
    guard let context else { return }
    let upgrader = NIOWebSocketServerUpgrader(
      shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
      upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    upgrader.buildUpgradeResponse(
      channel: context.channel, upgradeRequest: request, initialResponseHeaders: headers
    ).whenComplete { result in
      let (connection, context) = bound.value
      guard case .success(var headers) = result else { return context.close(promise: nil) }
      headers.replaceOrAdd(name: "Upgrade", value: "websocket")
      headers.replaceOrAdd(name: "Connection", value: "Upgrade")
      let head = HTTPResponseHead(
        version: .http1_1, status: .switchingProtocols, headers: headers)
      context.write(connection.wrapOutboundOut(.head(head)), promise: nil)
      context.writeAndFlush(connection.wrapOutboundOut(.end(nil)), promise: nil)
      do {
        let socket = try WebSocketConnection.begin(on: context, before: connection)
        connection.state = .webSocket(socket)
        upgrade(socket)
      } catch {
        context.close(promise: nil)
      }
    }
  }

  private func stream(
    _ streaming: @escaping Response.Streaming, isChunked: Bool, closes: Bool
  ) {
    guard let context else { return }
    let ended = { [weak self] () -> Void in self?.streamEnded(isWhole: true, closes: true) }
    guard let stream = ResponseStream(on: context, isChunked: isChunked, ended: ended) else {
      return context.close(promise: nil)
    }
    state = .streaming(stream)
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    Task(executorPreference: server.executor) {
      do {
        try await streaming(stream)
        if !stream.staysOpen { bound.value.streamEnded(isWhole: true, closes: closes) }
      } catch {
        bound.value.streamEnded(isWhole: false, closes: closes)
      }
    }
  }

  private func streamEnded(isWhole: Bool, closes: Bool) {
    guard case .streaming = state, let context else { return }
    // A body that broke off must not look whole.
    guard isWhole else { return context.close(promise: nil) }
    end(closes: closes || isDraining)
    context.flush()
  }

  private func end(closes: Bool) {
    guard let context else { return }
    state = closes ? .closing : .idle
    deadline = .now() + Self.idleLimit
    guard closes else { return context.write(wrapOutboundOut(.end(nil)), promise: nil) }
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete {
      [bound = context.loopBound] _ in bound.value.close(promise: nil)
    }
  }

  /// Ends the connection: at once where it is idle, with a whole answer where one is under way.
  func drain() {
    isDraining = true
    switch state {
    case .idle, .readingHead: context?.close(promise: nil)
    case .streaming(let stream): stream.drain()
    case .webSocket(let socket): socket.drain()
    case .readingBody, .answering, .closing: break
    }
  }

  func close() { context?.close(promise: nil) }
}

/// Tells the connection of the first bytes of a request, before they are a whole head.
final class FirstBytes: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let connection: HTTPConnection

  init(_ connection: HTTPConnection) {
    self.connection = connection
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if connection.receive(unwrapInboundIn(data)) { context.fireChannelRead(data) }
  }
}
