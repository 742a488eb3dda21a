import NIOCore
import NIOHTTP1

/// What is answered to a request.
struct Response: Sendable {
  /// Writes a body whose end is not known yet, piece by piece, until it returns or throws.
  typealias Streaming = @Sendable (ResponseStream) async throws -> Void

  /// Takes over a connection that speaks WebSocket from now on.
  typealias Upgrade = @Sendable (WebSocketConnection) -> Void

  enum Body: Sendable {
    case whole(ByteBuffer)
    case stream(Streaming)
    case webSocket(Upgrade)
  }

  var status: HTTPResponseStatus
  var headers = HTTPHeaders()
  var body: Body = .whole(ByteBuffer())
  /// Whether the connection ends with it.
  var closesConnection = false

  init(_ status: HTTPResponseStatus) {
    self.status = status
  }

  /// - Parameter type: a media type, as `text/html; charset=utf-8`.
  init(_ status: HTTPResponseStatus = .ok, type: String, _ bytes: some Sequence<UInt8>) {
    self.status = status
    headers.add(name: "Content-Type", value: type)
    body = .whole(ByteBuffer(bytes: bytes))
  }

  init(type: String, streaming: @escaping Streaming) {
    status = .ok
    headers.add(name: "Content-Type", value: type)
    body = .stream(streaming)
  }

  /// - Parameter upgrade: called on the event loop once the connection speaks WebSocket.
  init(webSocket upgrade: @escaping Upgrade) {
    status = .switchingProtocols
    body = .webSocket(upgrade)
  }

  /// To another address, which is relative to the request's.
  static func redirect(_ status: HTTPResponseStatus = .seeOther, to location: String) -> Response {
    var response = Response(status)
    response.headers.add(name: "Location", value: location)
    return response
  }

  func with(_ name: String, _ value: String) -> Response {
    var copy = self
    copy.headers.replaceOrAdd(name: name, value: value)
    return copy
  }

  /// The same on a connection that ends with it.
  var closing: Response {
    var copy = self
    copy.closesConnection = true
    return copy
  }
}

/// What is answered, at once or after something was asked.
enum Answer: Sendable {
  case now(Response)
  case later(@Sendable () async -> Response)
}
