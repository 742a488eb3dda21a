/// Notes the elements that the reader finds, depth first, and makes a value or a message of them
/// once a reply is complete.
struct ReplyBuilder {
  private enum Element {
    case null
    case integer(Int64)
    case status(ReplyTexts.Location)
    case error(ReplyTexts.Location)
    case bytes(ReplyTexts.Location)
    /// With the number of its elements, which follow.
    case array(Int)

    var location: ReplyTexts.Location? {
      switch self {
      case .status(let location), .error(let location), .bytes(let location): location
      case .null, .integer, .array: nil
      }
    }
  }

  /// Memory for more elements than this is not kept after a reply.
  private static let maxKept = 4096

  /// The elements of the reply that is not complete yet.
  private var elements: [Element] = []
  private var texts = ReplyTexts()
  private var pushes: [RedisBatch.Entry] = []

  // MARK: Elements

  mutating func addNull() { elements.append(.null) }

  mutating func add(_ number: Int64) { elements.append(.integer(number)) }

  /// Begins an array; its elements follow.
  mutating func addArray(count: Int) { elements.append(.array(count)) }

  mutating func addStatus(_ text: some Collection<UInt8>) {
    elements.append(.status(texts.add(text)))
  }

  mutating func addError(_ text: some Collection<UInt8>) {
    elements.append(.error(texts.add(text)))
  }

  mutating func addBytes(_ text: some Collection<UInt8>) {
    elements.append(.bytes(texts.add(text)))
  }

  // MARK: Whole replies

  /// Makes a value of the reply, which has to be complete.
  mutating func takeValue() -> RedisValue {
    var next = 0
    let value = value(&next)
    endReply()
    // The value keeps the pieces of memory that it uses, so later replies go into other pieces.
    if pushes.isEmpty { texts.release() } else { texts.endPiece() }
    return value
  }

  /// The value that begins at the element `next`; afterwards, `next` is the element after the
  /// value. It goes no deeper than the reader does.
  private func value(_ next: inout Int) -> RedisValue {
    guard let element = elements.at(next) else { return .null }
    next += 1
    switch element {
    case .null: return .null
    case .integer(let number): return .integer(number)
    case .status(let location): return .status(String(decoding: texts[location], as: UTF8.self))
    case .error(let location): return .error(String(decoding: texts[location], as: UTF8.self))
    case .bytes(let location): return .bytes(texts[location])
    case .array(let count):
      return .array((0..<min(count, elements.count - next)).map { _ in value(&next) })
    }
  }

  private mutating func endReply() {
    elements.removeAll(keepingCapacity: elements.count <= Self.maxKept)
  }

  // MARK: Messages

  /// Keeps the reply for ``takePushes()`` where it is one that a subscribed connection sends by
  /// itself; false for the answer to a request.
  mutating func keepPush() -> Bool {
    if let entry = push {
      pushes.append(entry)
    } else if let invalidated {
      pushes += invalidated
    } else if !beginsWith("message"), !beginsWith("pmessage") {
      return false
    }
    // A message that cannot be read is not an answer either.
    endReply()
    return true
  }

  private var push: RedisBatch.Entry? {
    // Garnet and Dragonfly answer a PING in this way also on a subscribed connection.
    if elements.count == 1, case .status(let location)? = elements.first,
      texts.holds("PONG", at: location)
    {
      return .pong
    }
    switch elements.count {
    case 3 where beginsWith("pong"): return .pong
    case 4 where beginsWith("message"):
      guard let channel = elements[2].location, let payload = elements[3].location else {
        return nil
      }
      return .message(channel: channel, pattern: nil, payload: payload)
    case 5 where beginsWith("pmessage"):
      guard let channel = elements[3].location, let payload = elements[4].location else {
        return nil
      }
      return .message(channel: channel, pattern: elements[2].location, payload: payload)
    default: return nil
    }
  }

  /// What `CLIENT TRACKING` tells a connection to which it redirects: the keys that have changed, each as a message
  /// of its own; one without a text where all have (Redis' documentation of client-side caching).
  private var invalidated: [RedisBatch.Entry]? {
    guard beginsWith("message"), let channel = elements.at(2)?.location else { return nil }
    switch elements.at(3) {
    case .array:
      return elements.dropFirst(4).compactMap(\.location).map {
        .message(channel: channel, pattern: nil, payload: $0)
      }
    case .null: return [.message(channel: channel, pattern: nil, payload: ReplyTexts.nothing)]
    default: return nil
    }
  }

  /// Whether the reply is an array that begins with a word.
  private func beginsWith(_ word: StaticString) -> Bool {
    guard case .array? = elements.first, case .bytes(let location)? = elements.at(1) else {
      return false
    }
    return texts.holds(word, at: location)
  }

  var pushCount: Int { pushes.count }

  /// Hands out what has been kept.
  mutating func takePushes() -> RedisBatch {
    let taken = texts.take()
    // The part of an incomplete reply that has come stays here.
    elements = elements.map { element in
      switch element {
      case .status(let location): .status(texts.add(taken[location]))
      case .error(let location): .error(texts.add(taken[location]))
      case .bytes(let location): .bytes(texts.add(taken[location]))
      case .null, .integer, .array: element
      }
    }
    defer { pushes = [] }
    return RedisBatch(texts: taken, entries: pushes)
  }
}
