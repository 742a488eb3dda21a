/// How a command ended, from the status that `waitpid` gives.
public enum CommandStatus: Sendable, Hashable {
  case exited(Int32)
  case signalled(Int32)

  /// - Parameter status: what `waitpid` gave for a process that has ended.
  init(waitStatus status: Int32) {
    let signal = status & 0x7F
    self = signal == 0 ? .exited((status >> 8) & 0xFF) : .signalled(signal)
  }

  /// As `waitpid` gives it.
  var waitStatus: Int32 {
    switch self {
    case .exited(let status): status << 8
    case .signalled(let number): number
    }
  }

  /// As a shell tells it: 128+n for a signal (POSIX, Shell Command Language, 2.8.2).
  public var shellStatus: Int32 {
    switch self {
    case .exited(let status): status
    case .signalled(let number): 128 + number
    }
  }

  /// The name of the signal that ended it.
  public var signalName: String? {
    if case .signalled(let number) = self { SignalName.of(number) } else { nil }
  }
}
