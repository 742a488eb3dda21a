import NIOCore
import NIOHTTP1
import NIOWebSocket

/// One WebSocket (RFC 6455): whole messages in and out, pings, and an end with a code. Lives on the event loop.
///
/// NIO's decoder reads frames; which of them may come, and in which order, is looked after here. Frames are written
/// here too: NIO's encoder gives the system the header by itself, and takes memory for each socket.
final class WebSocketConnection: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = ByteBuffer

  /// Why a connection ends (RFC 6455, 7.4.1, and the relay's own).
  enum Code: UInt16, Sendable {
    case normal = 1000
    case goingAway = 1001
    case protocolError = 1002
    case unsupported = 1003
    case invalidText = 1007
    case policy = 1008
    case tooLarge = 1009
    case sessionEnded = 4401
    case silent = 4408
    case tooSlow = 4409
    case tooMany = 4429
    case noRedis = 4503
  }

  private static let faults: Set<Code> = [
    .protocolError, .unsupported, .invalidText, .policy, .tooLarge,
  ]
  /// In bytes: of what a browser sends.
  static let maxMessage = 4096
  /// Of a frame that is not masked, in bytes.
  private static let maxHeader = 10
  private static let pingInterval = TimeAmount.seconds(25)
  private static let pongLimit = TimeAmount.seconds(10)
  /// How long the other end may take to answer a close.
  private static let closeLimit = TimeAmount.seconds(2)

  private var context: ChannelHandlerContext?
  /// The beginning of a message in fragments.
  private var fragments: (opcode: WebSocketOpcode, bytes: ByteBuffer)?
  private var lastSign = NIODeadline.now()
  private var pinged: NIODeadline?
  private var closed: NIODeadline?
  private var hasEnded = false
  private var isFlushDue = false

  /// Whether nothing can be sent any longer.
  var isEnded: Bool { hasEnded || context == nil }

  /// Called with each text that comes, in UTF-8.
  var onText: ((ByteBuffer) -> Void)?
  /// Called every two seconds.
  var onTick: ((NIODeadline) -> Void)?
  /// Called once, when nothing can be sent any longer.
  var onEnd: (() -> Void)?
  /// Called when the server ends.
  var onDrain: (() -> Void)?

  /// Takes the place of HTTP's handlers.
  ///
  /// - Throws: where one of them is missing.
  static func begin(
    on context: ChannelHandlerContext, before connection: HTTPConnection
  ) throws -> WebSocketConnection {
    let socket = WebSocketConnection()
    let pipeline = context.pipeline.syncOperations
    func drop<Handler: RemovableChannelHandler>(_ type: Handler.Type) {
      guard let context = try? pipeline.context(handlerType: type) else { return }
      pipeline.removeHandler(context: context, promise: nil)
    }
    try pipeline.addHandlers(
      [
        ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: maxMessage)), socket,
      ], position: .before(connection))
    drop(HTTPServerPipelineHandler.self)
    drop(HTTPResponseEncoder.self)
    drop(ByteToMessageHandler<HTTPRequestDecoder>.self)
    drop(BackPressureHandler.self)
    return socket
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  // MARK: Out

  var isWritable: Bool { context?.channel.isWritable ?? false }

  /// What the other end has not taken yet, in bytes.
  var unread: Int { context?.channel.unread ?? 0 }

  /// Sends a message without waiting.
  func send(_ opcode: WebSocketOpcode, _ bytes: some Collection<UInt8>) {
    guard let context, closed == nil, !hasEnded else { return }
    context.write(wrapOutboundOut(Self.frame(opcode, bytes)), promise: nil)
    guard !isFlushDue else { return }
    // With whatever else is sent in this turn.
    isFlushDue = true
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    context.eventLoop.execute {
      bound.value.isFlushDue = false
      bound.value.context?.flush()
    }
  }

  /// Sends a message and calls back once the system has taken it, or cannot.
  ///
  /// - Returns: false where it has ended, and nothing is called.
  func send(
    _ opcode: WebSocketOpcode, _ bytes: some Collection<UInt8>, _ taken: @escaping () -> Void
  ) -> Bool {
    guard let context, closed == nil, !hasEnded else { return false }
    let bound = NIOLoopBound(taken, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(Self.frame(opcode, bytes))).whenComplete { _ in
      bound.value()
    }
    return true
  }

  /// A whole message in one frame, which a server does not mask (RFC 6455, 5.2).
  private static func frame(_ opcode: WebSocketOpcode, _ bytes: some Collection<UInt8>)
    -> ByteBuffer
  {
    let count = bytes.count
    var frame = ByteBufferAllocator().buffer(capacity: maxHeader + count)
    frame.writeInteger(UInt8(webSocketOpcode: opcode) | 0x80)
    if count <= 125 {
      frame.writeInteger(UInt8(count))
    } else if let short = UInt16(exactly: count) {
      frame.writeMultipleIntegers(UInt8(126), short)
    } else {
      frame.writeMultipleIntegers(UInt8(127), UInt64(count))
    }
    frame.writeBytes(bytes)
    return frame
  }

  /// Ends the connection with a code; the other end answers, or has not long to do so.
  func close(_ code: Code) {
    guard let context, closed == nil, !hasEnded else { return }
    closed = .now()
    let bytes = [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 0xFF)]
    context.writeAndFlush(wrapOutboundOut(Self.frame(.connectionClose, bytes)), promise: nil)
    // Of one that breaks the rules no answer is waited for (7.1.7).
    if Self.faults.contains(code) { context.close(mode: .output, promise: nil) }
    end()
  }

  func drain() {
    if let onDrain { onDrain() } else { close(.goingAway) }
  }

  private func end() {
    guard !hasEnded else { return }
    hasEnded = true
    let ended = onEnd
    (onText, onTick, onEnd, onDrain) = (nil, nil, nil, nil)
    ended?()
  }

  func connectionEnded() {
    context = nil
    end()
  }

  /// Called every two seconds.
  func tick(_ now: NIODeadline) {
    if let closed {
      if now - closed >= Self.closeLimit { context?.close(promise: nil) }
      return
    }
    if let pinged, now - pinged >= Self.pongLimit { return close(.silent) }
    if pinged == nil, now - lastSign >= Self.pingInterval {
      pinged = now
      send(.ping, [])
    }
    onTick?(now)
  }

  // MARK: In

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    lastSign = .now()
    pinged = nil
    // Browsers mask everything (5.1), and no extension was agreed on (5.2).
    guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
      return close(.protocolError)
    }
    let bytes = frame.unmaskedData
    switch frame.opcode {
    case .ping: receivePing(frame, bytes)
    case .pong: if !frame.fin { close(.protocolError) }
    case .connectionClose: receiveClose(frame, bytes)
    case .text, .binary:
      guard fragments == nil else { return close(.protocolError) }
      if frame.fin {
        receive(frame.opcode, bytes)
      } else {
        fragments = (frame.opcode, bytes)
      }
    case .continuation:
      guard var begun = fragments else { return close(.protocolError) }
      begun.bytes.writeImmutableBuffer(bytes)
      guard begun.bytes.readableBytes <= Self.maxMessage else { return close(.tooLarge) }
      fragments = frame.fin ? nil : begun
      if frame.fin { receive(begun.opcode, begun.bytes) }
    default: close(.protocolError)
    }
  }

  private func receivePing(_ frame: WebSocketFrame, _ bytes: ByteBuffer) {
    guard frame.fin else { return close(.protocolError) }
    // One that asks and does not read the answers would fill our memory.
    guard isWritable else {
      context?.close(promise: nil)
      return
    }
    send(.pong, bytes.readableBytesView)
  }

  private func receive(_ opcode: WebSocketOpcode, _ bytes: ByteBuffer) {
    guard closed == nil, !hasEnded else { return }
    guard opcode == .text else { return close(.unsupported) }
    guard String(validating: bytes.readableBytesView, as: UTF8.self) != nil else {
      return close(.invalidText)
    }
    onText?(bytes)
  }

  private func receiveClose(_ frame: WebSocketFrame, _ bytes: ByteBuffer) {
    guard closed == nil else {
      // The answer to ours.
      context?.close(promise: nil)
      return
    }
    var rest = bytes
    let code = rest.readInteger(as: UInt16.self)
    let isValid =
      frame.fin && bytes.readableBytes != 1
      && code.map {
        (1000...1003).contains($0) || (1007...1014).contains($0) || (3000...4999).contains($0)
      } ?? true
      && String(validating: rest.readableBytesView, as: UTF8.self) != nil
    close(isValid ? .normal : .protocolError)
    context?.close(mode: .output, promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error as? NIOWebSocketError {
    case .invalidFrameLength?: close(.tooLarge)
    case .fragmentedControlFrame?, .multiByteControlFrameLength?: close(.protocolError)
    default: context.close(promise: nil)
    }
  }
}
