import CHiredis

/// Turns bytes from a server into replies, with hiredis' reader behind callbacks of our own.
///
/// hiredis walks the protocol and calls back for each element. The callbacks build no C objects:
/// they hand the elements to a ``ReplyBuilder`` and return a token, since hiredis only wants to
/// know that something was made. This is the one file with unsafe pointers; the pointers that
/// hiredis hands to a callback live only as long as the call, so they are copied there.
final class RedisCodec {
  /// hiredis parses fastest in small helpings: it moves its buffer less.
  private static let helping = 4096

  private let reader: UnsafeMutablePointer<redisReader>?
  private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
  private let building = Building()
  private let sizeLimit: Int
  private var bytesSinceReply = 0

  /// - Parameter sizeLimit: the most bytes that one reply may have.
  init(sizeLimit: Int) {
    self.sizeLimit = sizeLimit
    functions = .allocate(capacity: 1)
    functions.initialize(to: Building.functions)
    reader = redisReaderCreateWithFunctions(functions)
    reader?.pointee.privdata = Unmanaged.passUnretained(building).toOpaque()
  }

  deinit {
    redisReaderFree(reader)
    functions.deallocate()
  }

  /// Takes bytes as they came and hands over each reply that they complete.
  ///
  /// - Throws: ``RedisError`` of kind `nonsense` where they are no RESP2 or the reply is too
  ///   large; the codec is of no use afterwards.
  func decode(_ bytes: UnsafeRawBufferPointer, onReply: (RedisValue) -> Void) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.helping))
      rest = rest.dropFirst(part.count)
      guard let base = part.baseAddress?.assumingMemoryBound(to: CChar.self) else { return }
      bytesSinceReply += part.count
      guard redisReaderFeed(reader, base, part.count) == REDIS_OK else { throw failure }
      while let reply = try nextReply() {
        bytesSinceReply = 0
        onReply(reply)
      }
      guard bytesSinceReply <= sizeLimit else { throw RedisError.replyTooLarge(limit: sizeLimit) }
    }
  }

  private func nextReply() throws -> RedisValue? {
    var token: UnsafeMutableRawPointer?
    guard redisReaderGetReply(reader, &token) == REDIS_OK else { throw failure }
    return token == nil ? nil : building.builder.takeRoot()
  }

  private var failure: RedisError {
    guard let reader else { return .protocolViolation("out of memory") }
    let text = withUnsafeBytes(of: reader.pointee.errstr) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return .protocolViolation(text)
  }
}

/// Puts the elements that the reader finds, depth first, together into one value.
private struct ReplyBuilder {
  private static let longestRecent = 64

  private struct Frame {
    var missing: Int
    var elements: [RedisValue] = []
  }

  private var frames: [Frame] = []
  private var root: RedisValue?
  /// What stood last at the first places of an array. It is mostly the same again, as the word and
  /// the channel of a message are, or the field of an entry, and then not made again.
  private var recent: [[UInt8]] = [[], []]

  mutating func takeRoot() -> RedisValue? {
    defer { root = nil }
    return root
  }

  mutating func add(_ element: RedisValue) {
    var element = element
    while let top = frames.indices.last {
      frames[top].elements.append(element)
      frames[top].missing -= 1
      guard frames[top].missing == 0 else { return }
      element = .array(frames.removeLast().elements)
    }
    root = element
  }

  /// - Parameter place: the number of the element in its array; below 0 for what is in none.
  mutating func add(_ raw: UnsafeRawBufferPointer, at place: Int) {
    guard recent.indices.contains(place), raw.count <= Self.longestRecent else {
      return add(.bytes(Array(raw)))
    }
    if !recent[place].elementsEqual(raw) { recent[place] = Array(raw) }
    add(.bytes(recent[place]))
  }

  mutating func open(count: Int) {
    guard count > 0 else { return add(.array([])) }
    var frame = Frame(missing: count)
    // The count comes from outside, so it is no reason to take memory before the elements come.
    frame.elements.reserveCapacity(min(count, 1024))
    frames.append(frame)
  }
}

/// The builder where the callbacks find it.
private final class Building {
  var builder = ReplyBuilder()

  /// What a callback returns: hiredis only distinguishes it from NULL.
  private static var token: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

  private static func of(_ task: UnsafePointer<redisReadTask>?) -> Building? {
    guard let data = task?.pointee.privdata else { return nil }
    return Unmanaged<Building>.fromOpaque(data).takeUnretainedValue()
  }

  /// The callbacks. Set one by one because hiredis 1.x has more of them than 0.14, and closures
  /// because the type of a count differs between the two.
  static var functions: redisReplyObjectFunctions {
    var functions = redisReplyObjectFunctions()
    functions.createString = { task, bytes, count in
      let raw = UnsafeRawBufferPointer(start: bytes, count: Int(count))
      switch task?.pointee.type {
      case REDIS_REPLY_STATUS:
        Building.of(task)?.builder.add(.status(String(decoding: raw, as: UTF8.self)))
      case REDIS_REPLY_ERROR:
        Building.of(task)?.builder.add(.error(String(decoding: raw, as: UTF8.self)))
      default: Building.of(task)?.builder.add(raw, at: Int(task?.pointee.idx ?? -1))
      }
      return Building.token
    }
    functions.createArray = { task, count in
      Building.of(task)?.builder.open(count: Int(count))
      return Building.token
    }
    functions.createInteger = { task, number in
      Building.of(task)?.builder.add(.integer(Int64(number)))
      return Building.token
    }
    functions.createNil = { task in
      Building.of(task)?.builder.add(.null)
      return Building.token
    }
    functions.freeObject = { _ in }
    return functions
  }
}
