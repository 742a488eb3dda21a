/// A reply as RESP2 knows it.
package enum RedisValue: Sendable, Hashable {
  case null
  case integer(Int64)
  /// A status such as `OK` or `PONG`.
  case status(String)
  /// A bulk string; its bytes are in memory that all strings of the same reply share.
  case bytes(ArraySlice<UInt8>)
  case array([RedisValue])
  /// An error reply, its first word being the code (`NOPERM`, `OOM`, `ERR`).
  case error(String)

  /// The text of a status or of bytes that are UTF-8; nil for everything else.
  package var string: String? {
    switch self {
    case .status(let text): text
    case .bytes(let bytes): String(validating: bytes, as: UTF8.self)
    default: nil
    }
  }

  /// A whole number, given as such or as text.
  package var integer: Int64? {
    switch self {
    case .integer(let number): number
    case .bytes(let bytes): bytes.wholeNumber
    default: string.flatMap(Int64.init)
    }
  }

  /// A number, also in the text form that scores have: `1732400000000` or `1.7e12`.
  package var number: Double? {
    if case .integer(let number) = self { return Double(number) }
    return string.flatMap(Double.init)
  }

  /// The content of a bulk string; nil for everything else.
  package var bytes: ArraySlice<UInt8>? {
    if case .bytes(let bytes) = self { return bytes }
    return nil
  }

  /// The elements of an array; empty for everything else.
  package var elements: [RedisValue] {
    if case .array(let elements) = self { return elements }
    return []
  }

  /// The elements of a reply that must be an array.
  ///
  /// - Parameters:
  ///   - command: what was asked.
  ///   - count: how many there must be; nil for any number.
  /// - Throws: ``RedisError`` for any other reply.
  package func elements(to command: String, count: Int? = nil) throws -> [RedisValue] {
    try get()
    guard case .array(let elements) = self, count ?? elements.count == elements.count else {
      throw RedisError(.unexpectedReply(to: command))
    }
    return elements
  }

  /// This value, unless it is an error reply.
  ///
  /// - Throws: ``RedisError`` of kind `server` for an error reply.
  @discardableResult
  package func get() throws -> RedisValue {
    if case .error(let text) = self { throw RedisError.server(text) }
    return self
  }
}

extension Collection<UInt8> {
  /// The whole number that is written with these bytes.
  @inlinable package var wholeNumber: Int64? {
    // Nearly all numbers have at most 18 digits, which always fit.
    guard (1...18).contains(count) else { return Int64(String(decoding: self, as: UTF8.self)) }
    var number: Int64 = 0
    for byte in self {
      guard (0x30...0x39).contains(byte) else {
        return Int64(String(decoding: self, as: UTF8.self))
      }
      number = number * 10 + Int64(byte - 0x30)
    }
    return number
  }
}

extension Collection {
  /// The element at `index`, or nil where there is none. A reply comes from outside, so its length
  /// cannot be trusted.
  @inlinable package func at(_ index: Index) -> Element? {
    indices.contains(index) ? self[index] : nil
  }
}
