/// Why an instance stops, and how the command ended that it is.
public struct InstanceStop: Sendable, Hashable {
  /// The signal that asked for it (`shutdown` for a server's own), or how it went by itself: `exit`,
  /// `signal`, `pid-gone`.
  public var reason: String
  /// The command's status as a shell tells it.
  public var exit: Int32?
  /// The signal that ended the command.
  public var signal: String?

  /// A stop for a reason, of a command with its status.
  public init(reason: String, exit: Int32? = nil, signal: String? = nil) {
    self.reason = reason
    self.exit = exit
    self.signal = signal
  }
}
