import NIOCore
import Presence

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What a browser is told, as JSON.
enum RelayText {
  /// - Parameter isRecovered: nil where it asked for nothing.
  static func hello(_ user: [UInt8], _ position: RelayPosition, isRecovered: Bool?) -> [UInt8] {
    var text = JSONText()
    text.always("t", "hello")
    text.always("user", String(decoding: user, as: UTF8.self))
    text.always("pos", position.description)
    if let isRecovered { text.member("recovered", isRecovered) }
    return text.object
  }

  static func item(_ item: RelayAttachment.Item) -> [UInt8] {
    var text = JSONText()
    switch item {
    case .message(let position, let message):
      text.always("t", "msg")
      text.always("id", position.description)
      text.always("job", String(decoding: message.job, as: UTF8.self))
      if let data = String(validating: message.payload, as: UTF8.self) {
        text.always("data", data)
      } else {
        text.always("b64", Data(message.payload).base64EncodedString())
      }
    case .gap(let position, let why):
      text.always("t", "gap")
      text.always("to", position.description)
      text.always("why", why.rawValue)
    }
    return text.object
  }

  static func position(_ position: RelayPosition) -> [UInt8] {
    var text = JSONText()
    text.always("t", "pos")
    text.always("pos", position.description)
    return text.object
  }

  static func bye(_ code: WebSocketConnection.Code, retry: Bool) -> [UInt8] {
    var text = JSONText()
    text.always("t", "bye")
    text.member("code", Int64(code.rawValue))
    text.member("retry", retry)
    return text.object
  }

  /// Whether a browser's text is one that it may send: `{"t":"ping"}` or `{"t":"ack",…}`.
  static func isAllowed(_ bytes: ByteBuffer) -> Bool {
    struct Message: Decodable { var t: String }
    let message = try? JSONDecoder().decode(Message.self, from: Data(bytes.readableBytesView))
    return message.map { ["ping", "ack"].contains($0.t) } ?? false
  }
}

extension RelayAttachment.Item {
  /// Behind it a browser goes on.
  var position: RelayPosition {
    switch self {
    case .message(let position, _), .gap(let position, _): position
    }
  }
}
