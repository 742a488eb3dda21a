import Presence

/// Outputs of the watch as Server-Sent Events (HTML Living Standard, 9.2), encoded once for all listeners.
struct EventPieces: Sendable {
  /// One output: its position, nil for what is no event of the bus, and its bytes.
  struct Part: Sendable {
    var position: Position?
    /// The epoch in which what follows is counted anew.
    var resetEpoch: Int64?
    var bytes: Range<Int>
  }

  private(set) var parts: [Part] = []
  private(set) var bytes: [UInt8] = []

  init(_ batch: [WatchOutput]) {
    bytes.reserveCapacity(batch.count * 400)
    for output in batch { add(output) }
  }

  var isEmpty: Bool { parts.isEmpty }

  private mutating func add(_ output: WatchOutput) {
    let start = bytes.count
    var position: Position?
    var resetEpoch: Int64?
    switch output {
    case .event(let event, _):
      position = event.position
      bytes += "id: \(event.position.entryID)\nevent: \(event.type.rawValue)\ndata: ".utf8
    case .foreign(let type, _): bytes += "event: \(type.rawValue)\ndata: ".utf8
    case .gap: bytes += "event: gap\ndata: ".utf8
    case .reset(let epoch):
      resetEpoch = epoch
      // So that a reader that comes back does not bring the position that no longer counts.
      if let epoch { bytes += "id: \(epoch)-0\n".utf8 }
      bytes += "event: reset\ndata: ".utf8
    case .retracted: bytes += "event: retracted\ndata: ".utf8
    // Neither is an event: the one is the page's, and of the other anybody could send any number.
    case .snapshot, .message: return
    }
    output.addLine(to: &bytes)
    bytes.append(UInt8(ascii: "\n"))
    parts.append(Part(position: position, resetEpoch: resetEpoch, bytes: start..<bytes.count))
  }

  /// The bytes for a listener that has got everything up to a position; nil for all of them.
  ///
  /// - Parameter position: where the listener stands, and then will stand.
  func rest(after position: inout Position?) -> [UInt8]? {
    var isWhole = true
    var rest: [UInt8] = []
    for part in parts {
      if let epoch = part.resetEpoch { position = Position(epoch: epoch, seq: 0) }
      if let own = part.position {
        guard position.map({ own > $0 }) ?? true else {
          isWhole = false
          continue
        }
        position = own
      }
      rest += bytes[part.bytes]
    }
    return isWhole ? nil : rest
  }
}
