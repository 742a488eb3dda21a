/// A message of Pub/Sub. Its bytes are in memory that all messages of its batch share.
package struct RedisMessage: Sendable, Hashable {
  package var channel: ArraySlice<UInt8>
  /// The pattern that it matched, for a subscription to patterns.
  package var pattern: ArraySlice<UInt8>?
  package var payload: ArraySlice<UInt8>
}

/// What a subscribed connection sends: a message, or the answer to a ping, in their order.
package enum RedisPush: Sendable, Hashable {
  case message(RedisMessage)
  case pong

  /// What a message carries; nil for a pong.
  package var payload: ArraySlice<UInt8>? {
    guard case .message(let message) = self else { return nil }
    return message.payload
  }
}

/// What a subscribed connection sent at once, in its order.
package struct RedisBatch: Sendable, RandomAccessCollection {
  enum Entry: Sendable {
    case message(
      channel: ReplyTexts.Location, pattern: ReplyTexts.Location?, payload: ReplyTexts.Location)
    case pong
  }

  private var texts: ReplyTexts
  private var entries: [Entry]

  init(texts: ReplyTexts = ReplyTexts(), entries: [Entry] = []) {
    self.texts = texts
    self.entries = entries
  }

  package var startIndex: Int { entries.startIndex }
  package var endIndex: Int { entries.endIndex }

  package subscript(index: Int) -> RedisPush {
    switch entries[index] {
    case .message(let channel, let pattern, let payload):
      .message(
        RedisMessage(
          channel: texts[channel], pattern: pattern.map { texts[$0] }, payload: texts[payload]))
    case .pong: .pong
    }
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

  /// The approximate size in bytes.
  var size: Int { texts.size + 64 * entries.count }
}
