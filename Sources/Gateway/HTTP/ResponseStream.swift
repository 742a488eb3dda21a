import NIOCore
import NIOHTTP1

/// The body of a response that is written piece by piece.
///
/// ``write(_:)`` waits until the system has taken a piece, so that a slow reader slows down what is made for it.
/// ``push(_:)`` does not wait: it is for what happens now, and ends a reader that leaves too much of it unread.
final class ResponseStream: Sendable {
  /// A piece of a body, encoded once for all that get it.
  struct Piece: Sendable {
    let plain: ByteBuffer
    /// The same as a chunk (RFC 9112, 7.1).
    let chunk: ByteBuffer

    init(_ bytes: [UInt8]) {
      plain = ByteBuffer(bytes: bytes)
      var chunk = ByteBuffer()
      chunk.reserveCapacity(bytes.count + 16)
      chunk.writeString(String(bytes.count, radix: 16) + "\r\n")
      chunk.writeBytes(bytes)
      chunk.writeString("\r\n")
      self.chunk = chunk
    }
  }

  /// How long a reader may leave a piece unread that is waited for.
  private static let patience = TimeAmount.seconds(60)

  /// The reader has gone, or is not to get more.
  struct Ended: Error {}

  private struct State {
    /// Of the encoder, below which pieces are written, since they are encoded already.
    var output: ChannelHandlerContext?
    let ended: () -> Void
    var isEnded = false
    /// When the piece was written that the reader has not taken yet.
    var waitingSince: NIODeadline?
    /// Whether the body goes on without the task that made it.
    var staysOpen = false
    /// Called once when the body ends here or the reader goes.
    var onEnd: (() -> Void)?
    var onTick: ((NIODeadline) -> Void)?
    /// Called when the server ends; without it the body ends then.
    var onDrain: (() -> Void)?
  }

  private let channel: any Channel
  private let isChunked: Bool
  private let state: NIOLoopBoundBox<State>

  /// - Parameter ended: called where a body that stayed open ends; else its end is its maker's.
  init?(on context: ChannelHandlerContext, isChunked: Bool, ended: @escaping () -> Void) {
    guard
      let output = try? context.pipeline.syncOperations.context(
        handlerType: HTTPResponseEncoder.self)
    else { return nil }
    channel = context.channel
    self.isChunked = isChunked
    state = NIOLoopBoundBox(State(output: output, ended: ended), eventLoop: context.eventLoop)
  }

  /// Writes a piece and waits until the system has taken it.
  ///
  /// - Throws: ``Ended``.
  func write(_ bytes: [UInt8]) async throws {
    guard !bytes.isEmpty else { return }
    guard let output = state.value.output, !state.value.isEnded else { throw Ended() }
    state.value.waitingSince = .now()
    defer { state.value.waitingSince = nil }
    let done = channel.eventLoop.makePromise(of: Void.self)
    let piece = Piece(bytes)
    output.writeAndFlush(
      NIOAny(IOData.byteBuffer(isChunked ? piece.chunk : piece.plain)), promise: done)
    do {
      try await done.futureResult.get()
    } catch {
      throw Ended()
    }
  }

  /// Writes a piece without waiting; ends the connection where the reader is too far behind.
  func push(_ piece: Piece) {
    guard let output = state.value.output, !state.value.isEnded else { return }
    guard channel.isWritable else { return channel.close(promise: nil) }
    output.writeAndFlush(
      NIOAny(IOData.byteBuffer(isChunked ? piece.chunk : piece.plain)), promise: nil)
  }

  /// Has the body go on once what makes it has returned, until the reader goes or ``end()`` is called. So a reader
  /// that waits for what happens costs no task.
  ///
  /// - Parameters:
  ///   - onTick: called every two seconds meanwhile.
  ///   - onDrain: called when the server ends, and has to end the body; without it the body ends then.
  ///   - onEnd: called at the end.
  func stayOpen(
    onTick: @escaping (NIODeadline) -> Void, onDrain: (() -> Void)? = nil,
    onEnd: @escaping () -> Void
  ) {
    guard !state.value.isEnded else { return onEnd() }
    state.value.staysOpen = true
    state.value.onDrain = onDrain
    state.value.onTick = onTick
    state.value.onEnd = onEnd
    dropRequestHandlers()
  }

  var staysOpen: Bool { state.value.staysOpen }

  /// The parser and what pairs requests with answers have nothing to do any longer, and take half of the memory.
  private func dropRequestHandlers() {
    let pipeline = channel.pipeline.syncOperations
    func drop<Handler: RemovableChannelHandler>(_ type: Handler.Type) {
      guard let context = try? pipeline.context(handlerType: type) else { return }
      pipeline.removeHandler(context: context, promise: nil)
    }
    drop(HTTPServerPipelineHandler.self)
    drop(ByteToMessageHandler<HTTPRequestDecoder>.self)
    drop(BackPressureHandler.self)
  }

  /// The body ends here.
  func end() {
    guard !state.value.isEnded else { return }
    state.value.isEnded = true
    (state.value.onTick, state.value.onDrain) = (nil, nil)
    state.value.onEnd.take()?()
    if state.value.staysOpen { state.value.ended() }
  }

  /// The server ends.
  func drain() {
    if let onDrain = state.value.onDrain { onDrain() } else { end() }
  }

  /// What the reader has not taken yet, in bytes.
  var unread: Int { channel.unread }

  func connectionEnded() {
    state.value.output = nil
    end()
  }

  /// Called every two seconds.
  func tick(_ now: NIODeadline) {
    if let since = state.value.waitingSince, now - since > Self.patience {
      return channel.close(promise: nil)
    }
    state.value.onTick?(now)
  }
}

extension Channel {
  /// What was written and the system has not taken yet, in bytes.
  var unread: Int { (try? syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }
}
