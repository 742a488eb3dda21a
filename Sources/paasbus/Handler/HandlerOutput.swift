@preconcurrency import Dispatch
import Supervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where handlers write: our standard error, line by line, so that it does not disturb what is
/// drawn on the terminal.
enum HandlerOutput {
  private static let maxLine = 8192

  /// The descriptor to write to. Where nothing is drawn, that is standard error itself.
  static func open(isDrawing: Bool) -> CInt {
    guard isDrawing, let pipe = HelperProcess.Pipe() else { return STDERR_FILENO }
    DispatchQueue(label: "handler-output").async { copy(from: pipe.reading) }
    return pipe.writing
  }

  private static func copy(from descriptor: CInt) {
    var line: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      guard count > 0 || (count < 0 && errno == EINTR) else { return }
      for byte in buffer.prefix(max(0, count)) {
        line.append(byte)
        guard byte == UInt8(ascii: "\n") || line.count >= maxLine else { continue }
        Diagnostics.copy(String(decoding: line, as: UTF8.self))
        line = []
      }
    }
  }
}
