/// Why an instance stops, and how its command ended.
public struct InstanceStop: Sendable, Hashable {
  /// The signal that asked for the stop (`shutdown` where the app's own server shut down), or how
  /// the instance ended by itself: `exit`, `signal`, `pid-gone`, `oom`.
  public var reason: String
  /// The command's status as a shell tells it.
  public var exit: Int32?
  /// The signal that ended the command.
  public var signal: String?

  /// A stop with its reason, and with the status or the signal of a command that ended.
  public init(reason: String, exit: Int32? = nil, signal: String? = nil) {
    self.reason = reason
    self.exit = exit
    self.signal = signal
  }
}
