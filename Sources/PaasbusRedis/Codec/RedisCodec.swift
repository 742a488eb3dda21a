import CHiredis

/// Turns bytes from a server into replies, with hiredis' reader behind callbacks of our own.
///
/// hiredis walks the protocol and calls back for each element. The callbacks build no C objects:
/// they hand the elements to a ``ReplyBuilder`` and return a token, since hiredis only wants to
/// know that something was made. This is the one file here that keeps unsafe pointers. What hiredis
/// hands to a callback is valid only during the call, so the callback copies it.
final class RedisCodec {
  /// How many bytes hiredis gets at once. It parses fastest in small pieces, since it then moves
  /// its buffer less.
  private static let helping = 4096

  private let reader: UnsafeMutablePointer<redisReader>?
  private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
  /// A pointer, so that the callbacks find the builder; a class would cost more time than their own
  /// work.
  private let builder: UnsafeMutablePointer<ReplyBuilder>
  private let sizeLimit: Int
  private var bytesSinceReply = 0
  /// Whether what a subscribed connection sends by itself is kept for ``takePushes()``.
  var keepsPushes = false

  /// - Parameter sizeLimit: the most bytes that one reply may have.
  init(sizeLimit: Int) {
    self.sizeLimit = sizeLimit
    functions = .allocate(capacity: 1)
    functions.initialize(to: Self.functions())
    builder = .allocate(capacity: 1)
    builder.initialize(to: ReplyBuilder())
    reader = redisReaderCreateWithFunctions(functions)
    reader?.pointee.privdata = UnsafeMutableRawPointer(builder)
  }

  deinit {
    redisReaderFree(reader)
    functions.deallocate()
    builder.deinitialize(count: 1)
    builder.deallocate()
  }

  /// Takes bytes as they came, and hands over each reply that they complete, except for those that
  /// are kept.
  ///
  /// - Throws: ``RedisError`` of kind `nonsense` where the bytes are not RESP2 or the reply is too
  ///   large; the codec cannot be used afterwards.
  func decode(_ bytes: UnsafeRawBufferPointer, onReply: (RedisValue) -> Void) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.helping))
      rest = rest.dropFirst(part.count)
      guard let base = part.baseAddress?.assumingMemoryBound(to: CChar.self) else { return }
      bytesSinceReply += part.count
      guard redisReaderFeed(reader, base, part.count) == REDIS_OK else { throw failure }
      while try readReply() {
        bytesSinceReply = 0
        if keepsPushes, builder.pointee.keepPush() { continue }
        onReply(builder.pointee.takeValue())
      }
      guard bytesSinceReply <= sizeLimit else { throw RedisError(.replyTooLarge(limit: sizeLimit)) }
    }
  }

  var pushCount: Int { builder.pointee.pushCount }

  /// What was kept since the last call; nil where nothing was.
  func takePushes() -> RedisBatch? {
    pushCount > 0 ? builder.pointee.takePushes() : nil
  }

  /// Whether there is another whole reply.
  private func readReply() throws -> Bool {
    var token: UnsafeMutableRawPointer?
    guard redisReaderGetReply(reader, &token) == REDIS_OK else { throw failure }
    return token != nil
  }

  private var failure: RedisError {
    guard let reader else { return RedisError(.notRedis("out of memory")) }
    let text = withUnsafeBytes(of: reader.pointee.errstr) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return RedisError(.notRedis(text))
  }
}

/// The callbacks for hiredis. They are set one by one because hiredis 1.x has more of them than
/// 0.14, and they are closures because the type of a count differs between the two.
extension RedisCodec {
  private static func functions() -> redisReplyObjectFunctions {
    var functions = redisReplyObjectFunctions()
    functions.createString = { task, bytes, count in
      let text = UnsafeRawBufferPointer(start: bytes, count: Int(count))
      switch task?.pointee.type {
      case REDIS_REPLY_STATUS: RedisCodec.builder(task)?.pointee.addStatus(text)
      case REDIS_REPLY_ERROR: RedisCodec.builder(task)?.pointee.addError(text)
      default: RedisCodec.builder(task)?.pointee.addBytes(text)
      }
      return RedisCodec.token
    }
    functions.createArray = { task, count in
      RedisCodec.builder(task)?.pointee.addArray(count: Int(count))
      return RedisCodec.token
    }
    functions.createInteger = { task, number in
      RedisCodec.builder(task)?.pointee.add(Int64(number))
      return RedisCodec.token
    }
    functions.createNil = { task in
      RedisCodec.builder(task)?.pointee.addNull()
      return RedisCodec.token
    }
    functions.freeObject = { _ in }
    return functions
  }

  private static func builder(
    _ task: UnsafePointer<redisReadTask>?
  ) -> UnsafeMutablePointer<ReplyBuilder>? {
    task?.pointee.privdata?.assumingMemoryBound(to: ReplyBuilder.self)
  }

  /// What a callback returns: hiredis only distinguishes it from NULL.
  private static var token: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }
}
