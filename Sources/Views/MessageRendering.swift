import PaasbusRedis
import Presence

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// How a message of Pub/Sub is shown. It may contain any bytes.
package struct MessageRendering: Sendable {
  package var isJSON: Bool
  /// Whether characters that could move a cursor have to be made visible.
  package var isForTerminal: Bool

  package init(isJSON: Bool, isForTerminal: Bool) {
    self.isJSON = isJSON
    self.isForTerminal = isForTerminal
  }

  /// A whole line with its end.
  package func line(_ message: RedisMessage) -> [UInt8] {
    if isJSON { return Self.json(message).line }
    guard isForTerminal else { return message.channel + [0x09] + message.payload + [0x0A] }
    let texts = [message.channel, message.payload].map {
      Visible.text(String(decoding: $0, as: UTF8.self))
    }
    return Array((texts.joined(separator: "\t") + "\n").utf8)
  }

  private static func json(_ message: RedisMessage) -> JSONText {
    var text = JSONText()
    text.always("channel", String(decoding: message.channel, as: UTF8.self))
    if let payload = String(validating: message.payload, as: UTF8.self) {
      text.always("message", payload)
    } else {
      text.always("base64", Data(message.payload).base64EncodedString())
    }
    text.member("pattern", message.pattern.map { String(decoding: $0, as: UTF8.self) })
    return text
  }
}
