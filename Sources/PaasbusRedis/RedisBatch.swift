/// A message of Pub/Sub. Its bytes stand in memory that is shared with others of its batch.
public struct RedisMessage: Sendable, Hashable {
  public var channel: ArraySlice<UInt8>
  /// The pattern that it matched, for a subscription to patterns.
  public var pattern: ArraySlice<UInt8>?
  public var payload: ArraySlice<UInt8>
}

/// What a subscribed connection sends: a message, or the answer to a ping, in their order.
public enum RedisPush: Sendable, Hashable {
  case message(RedisMessage)
  case pong

  /// What a message carries; nil for a pong.
  public var payload: ArraySlice<UInt8>? {
    guard case .message(let message) = self else { return nil }
    return message.payload
  }
}

/// What a subscribed connection sent at once, in its order.
public struct RedisBatch: Sendable, RandomAccessCollection {
  enum Entry: Sendable {
    case message(channel: ReplyTexts.Place, pattern: ReplyTexts.Place?, payload: ReplyTexts.Place)
    case pong
  }

  private var texts: ReplyTexts
  private var entries: [Entry]

  init(texts: ReplyTexts = ReplyTexts(), entries: [Entry] = []) {
    self.texts = texts
    self.entries = entries
  }

  public var startIndex: Int { entries.startIndex }
  public var endIndex: Int { entries.endIndex }

  public subscript(index: Int) -> RedisPush {
    switch entries[index] {
    case .message(let channel, let pattern, let payload):
      .message(
        RedisMessage(
          channel: texts[channel], pattern: pattern.map { texts[$0] }, payload: texts[payload]))
    case .pong: .pong
    }
  }

  /// What the message at an index carries, alone, for whoever reads a flood: nothing else of it is
  /// made. nil for a pong.
  public func payload(at index: Int) -> ArraySlice<UInt8>? {
    guard case .message(_, _, let payload) = entries[index] else { return nil }
    return texts[payload]
  }

  mutating func append(_ other: RedisBatch) {
    let pieces = texts.append(other.texts)
    entries += other.entries.lazy.map { entry in
      guard case .message(let channel, let pattern, let payload) = entry else { return entry }
      return .message(
        channel: channel.moved(by: pieces), pattern: pattern?.moved(by: pieces),
        payload: payload.moved(by: pieces))
    }
  }

  /// In bytes, about.
  var size: Int { texts.size + 64 * entries.count }
}
