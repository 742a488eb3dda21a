import NIOCore
import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Matches replies to requests in order, and once subscribed, collects messages into batches.
///
/// Lives on the event loop; everything here runs there.
final class RedisChannelHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  /// Commands that were written together and wait for one reply each.
  private struct Request {
    let commands: [RedisCommand]
    var missing: Int
    var replies: [RedisValue] = []
    let promise: EventLoopPromise<[RedisValue]>
    let timer: Scheduled<Void>
    let sent = NIODeadline.now()
  }

  private static let manyPushes = 128

  private let codec: RedisCodec
  private let answers: AnswerTimes
  private let flood: Flood
  /// nil where the connection is not encrypted.
  private let records: TLSRecords?
  private var requests = CircularBuffer<Request>()
  private var mailbox: RedisMailbox?
  private var context: ChannelHandlerContext?
  private var failure: RedisError?
  private var hasReceived = false
  /// Whether the first request, which logs in, has been answered.
  private var isLoggedIn = false
  private var sleeper: EventLoopPromise<Void>?

  init(sizeLimit: Int, records: TLSRecords?, answers: AnswerTimes, flood: Flood) {
    codec = RedisCodec(sizeLimit: sizeLimit)
    (self.answers, self.flood) = (answers, flood)
    self.records = records
  }

  // MARK: Requests

  /// Writes the commands at once; the promise gets one reply for each.
  func send(
    _ commands: [RedisCommand], timeout: TimeAmount, promise: EventLoopPromise<[RedisValue]>
  ) {
    guard let context, failure == nil else { return promise.fail(failure ?? RedisError(.closed)) }
    var buffer = context.channel.allocator.buffer(capacity: 512)
    for command in commands { command.encode(into: &buffer) }
    let seconds = timeout.nanoseconds
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    let timer = context.eventLoop.scheduleTask(in: timeout) {
      bound.value.requestTimedOut(after: .nanoseconds(seconds))
    }
    requests.append(
      Request(commands: commands, missing: commands.count, promise: promise, timer: timer))
    context.writeAndFlush(NIOAny(buffer), promise: nil)
  }

  /// Writes a command that is answered among the messages.
  func write(_ command: RedisCommand) {
    guard let context, failure == nil else { return }
    var buffer = context.channel.allocator.buffer(capacity: 64)
    command.encode(into: &buffer)
    context.writeAndFlush(NIOAny(buffer), promise: nil)
  }

  /// Sends all messages to `mailbox` from here on.
  func deliver(to mailbox: RedisMailbox) {
    self.mailbox = mailbox
    codec.keepsPushes = true
    if let failure { mailbox.end(failure) }
  }

  private func requestTimedOut(after timeout: Duration) {
    if let records, !records.hasBegun {
      return fail(RedisError(.tls(.noAnswer)))
    }
    fail(RedisError(.noAnswer(within: timeout)))
  }

  /// Fulfils the promise after `time`, or fails it when the connection fails. Only one promise can
  /// wait: an earlier one that still waits is fulfilled at once.
  func sleep(for time: TimeAmount, promise: EventLoopPromise<Void>) {
    guard let context, failure == nil else { return promise.fail(failure ?? RedisError(.closed)) }
    sleeper?.succeed()
    sleeper = promise
    let timer = context.eventLoop.scheduleTask(in: time) { promise.succeed() }
    promise.futureResult.whenComplete { _ in timer.cancel() }
  }

  // MARK: Channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    hasReceived = true
    flood.receive(bytes: buffer.readableBytes)
    guard failure == nil else { return }
    do {
      try buffer.withUnsafeReadableBytes { bytes in
        try codec.decode(bytes) { reply in receive(reply) }
      }
    } catch {
      fail(error as? RedisError ?? RedisError(.notRedis("\(error)")))
    }
    // The messages are handed over now, so that they are processed while the next ones are read.
    if codec.pushCount >= Self.manyPushes { flushBatch(context: context) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    flushBatch(context: context)
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(closing)
  }

  /// The error for a connection that the other side has ended.
  private var closing: RedisError {
    guard isLoggedIn, !requests.isEmpty else {
      return RedisError(hasReceived ? .closed : .closedUnheard)
    }
    var names: [String] = []
    for request in requests {
      for command in request.commands.suffix(request.missing) where !names.contains(command.name) {
        names.append(command.name)
      }
    }
    return RedisError(.closedAsked(names))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A peer that closes without the end message of TLS has simply closed the connection.
    if let error = error as? NIOSSLError, case .uncleanShutdown = error { return fail(closing) }
    let isReset = (error as? IOError)?.errnoCode == ECONNRESET
    fail(
      isReset && (isLoggedIn || !hasReceived) ? closing : RedisError(connecting: error, records))
  }

  // MARK: Replies

  private func receive(_ reply: RedisValue) {
    guard !requests.isEmpty else {
      // Some servers send the reason before they close the connection, without a request.
      if case .error(let text) = reply { fail(.server(text)) }
      return
    }
    // In place, since a copy of all replies with each one takes long where there are thousands.
    let isWhole = requests.modify(requests.startIndex) { request in
      request.replies.append(reply)
      request.missing -= 1
      return request.missing == 0
    }
    guard isWhole, let request = requests.popFirst() else { return }
    isLoggedIn = true
    request.timer.cancel()
    answers.note(.now() - request.sent)
    request.promise.succeed(request.replies)
  }

  private func flushBatch(context: ChannelHandlerContext) {
    guard let mailbox, let batch = codec.takePushes() else { return }
    if mailbox.put(batch) { setReading(false, on: context.channel) }
  }

  private func setReading(_ reads: Bool, on channel: any Channel) {
    channel.setOption(.autoRead, value: reads).whenFailure { _ in }
  }

  /// Ends the connection, and fails everything that waits with the reason.
  func fail(_ error: RedisError) {
    if let context { flushBatch(context: context) }
    if failure == nil { failure = error }
    let reason = failure ?? error
    while let request = requests.popFirst() {
      request.timer.cancel()
      request.promise.fail(reason)
    }
    sleeper?.fail(reason)
    sleeper = nil
    mailbox?.end(reason)
    context?.close(promise: nil)
  }
}
