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
    buffer.writeString("*\(arguments.count)\r\n")
    for argument in arguments {
      buffer.writeString("$\(argument.count)\r\n")
      buffer.writeBytes(argument)
      buffer.writeString("\r\n")
    }
  }
}
