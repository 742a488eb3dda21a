import NIOCore

/// Segments in bytes, as gateways lend them to each other: numbers of eight bytes, and texts behind their lengths.
///
/// What comes from Redis may have been written by anybody, so every length is checked.
struct RelaySegments {
  /// The bytes are not segments.
  struct Malformed: Error {}

  private static let version: UInt8 = 2

  // MARK: Writing

  static func encode(_ segments: [RelayMark: RelayRing.Segment]) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeInteger(version)
    buffer.writeInteger(UInt32(clamping: segments.count))
    for (mark, segment) in segments.sorted(by: { $0.key.number < $1.key.number }) {
      buffer.write(mark)
      buffer.writeInteger(Int64(segment.heard))
      buffer.writeInteger(segment.publications)
      buffer.writeInteger(segment.publishedBefore ?? -1)
      buffer.writeInteger(segment.next == nil ? UInt8(0) : 1)
      if let next = segment.next { buffer.write(next) }
      buffer.writeInteger(UInt32(clamping: segment.dropped.count))
      for (user, offset) in segment.dropped {
        buffer.write(user)
        buffer.writeInteger(Int64(offset))
      }
      buffer.writeInteger(UInt32(clamping: segment.messages.count))
      for (offset, message) in segment.messages {
        buffer.writeInteger(Int64(offset))
        buffer.write(message.user)
        buffer.write(message.job)
        buffer.writeInteger(Int64(message.length))
        buffer.write(message.payload)
      }
    }
    return buffer
  }

  // MARK: Reading

  /// - Throws: ``Malformed``.
  static func decode(_ bytes: ByteBuffer) throws -> [RelayMark: RelayRing.Segment] {
    var buffer = bytes
    guard try buffer.number(UInt8.self) == version else { throw Malformed() }
    var segments: [RelayMark: RelayRing.Segment] = [:]
    for _ in 0..<(try buffer.number(UInt32.self)) {
      let mark = try buffer.mark()
      var segment = RelayRing.Segment()
      segment.heard = try buffer.count()
      segment.publications = Int64(try buffer.count())
      let published = try buffer.number(Int64.self)
      segment.publishedBefore = RelayMark.trustedCounts.contains(published) ? published : nil
      if try buffer.number(UInt8.self) == 1 { segment.next = try buffer.mark() }
      for _ in 0..<(try buffer.number(UInt32.self)) {
        let user = try buffer.text()
        segment.note(dropped: try buffer.count(), of: user)
      }
      for _ in 0..<(try buffer.number(UInt32.self)) {
        let offset = try buffer.count()
        let (user, job, length) = (try buffer.text(), try buffer.text(), try buffer.count())
        let message = RelayMessage(user: user, job: job, payload: try buffer.text(), length: length)
        guard offset <= segment.heard, message.payload.count <= length else { throw Malformed() }
        segment.insert(message, at: offset)
      }
      segments[mark] = segment
    }
    return segments
  }
}

extension ByteBuffer {
  fileprivate mutating func write(_ text: [UInt8]) {
    writeInteger(UInt32(clamping: text.count))
    writeBytes(text)
  }

  fileprivate mutating func write(_ mark: RelayMark) {
    write(Array(mark.line.utf8))
    writeInteger(mark.number)
  }

  fileprivate mutating func number<Number: FixedWidthInteger>(_: Number.Type) throws -> Number {
    guard let number = readInteger(as: Number.self) else { throw RelaySegments.Malformed() }
    return number
  }

  /// A number that is not negative.
  fileprivate mutating func count() throws -> Int {
    guard let count = Int32(exactly: try number(Int64.self)), count >= 0 else {
      throw RelaySegments.Malformed()
    }
    return Int(count)
  }

  fileprivate mutating func text() throws -> [UInt8] {
    guard let text = readBytes(length: Int(try number(UInt32.self))) else {
      throw RelaySegments.Malformed()
    }
    return text
  }

  fileprivate mutating func mark() throws -> RelayMark {
    let line = String(decoding: try text(), as: UTF8.self)
    let number = try number(Int64.self)
    guard RelayPosition.isLine(line), RelayMark.trusted.contains(number) else {
      throw RelaySegments.Malformed()
    }
    return RelayMark(line: line, number: number)
  }
}
