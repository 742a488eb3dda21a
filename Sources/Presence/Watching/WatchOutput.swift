/// What a watcher tells, in order.
public enum WatchOutput: Sendable, Hashable {
  /// Where an event was read from.
  public enum Source: String, Sendable {
    /// As it happened.
    case live
    /// From the history: what was asked for, or what a lost connection missed.
    case replay
  }

  case event(Event, Source)
  /// An instance that was there when the watch began. The case is indirect, since it is larger than
  /// all others.
  indirect case snapshot(InstanceStatus)
  /// One of the tutorial's bare words, with the time of its arrival in ms by the server's clock.
  case foreign(EventType, at: Int64)
  /// Anything else that came on the channel, as untrusted text.
  case message(String)
  /// The history no longer holds these numbers.
  case gap(from: Int64, to: Int64)
  /// The bus lost data or was created again, and what has not been shown follows. Without an epoch,
  /// the bus is gone, and no instance has announced on it since.
  case reset(epoch: Int64?)
  /// An event that was shown is not in the history.
  case retracted(seq: Int64)
}
