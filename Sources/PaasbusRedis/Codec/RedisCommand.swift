import NIOCore

/// One command with its arguments, each of which may hold any bytes.
package struct RedisCommand: Sendable {
  package var arguments: [[UInt8]]

  package init(_ arguments: String...) {
    self.init(arguments)
  }

  package init(_ arguments: [String]) {
    self.arguments = arguments.map { Array($0.utf8) }
  }

  package init(arguments: [[UInt8]]) {
    self.arguments = arguments
  }

  /// The command's name, for messages; never an argument, which may be a password.
  package var name: String {
    String(decoding: arguments.first ?? [], as: UTF8.self)
  }

  /// Appends the command as an array of bulk strings (RESP2).
  func encode(into buffer: inout ByteBuffer) {
    buffer.writeHeader("*", arguments.count)
    for argument in arguments {
      buffer.writeHeader("$", argument.count)
      buffer.writeBytes(argument)
      buffer.writeStaticString("\r\n")
    }
  }
}

extension ByteBuffer {
  /// Writes a sign, a number that is not negative, and a line end.
  fileprivate mutating func writeHeader(_ sign: StaticString, _ number: Int) {
    writeStaticString(sign)
    // Most numbers are small, and a string of each would cost more than all else here.
    if number < 10 {
      writeInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number))
    } else if number < 100 {
      writeInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10))
      writeInteger(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    } else {
      writeString(String(number))
    }
    writeStaticString("\r\n")
  }
}
