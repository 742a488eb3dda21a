import PaasbusRedis

/// What keeps an announcer or a watcher from its bus.
public enum PresenceError: Error, Hashable, Sendable {
  case redis(RedisError)
  /// A bus has one channel, and another one was asked for.
  case otherChannel(app: String, channel: String)

  /// nil for an error of another kind, such as a cancellation.
  init?(_ error: any Error) {
    switch error {
    case let error as PresenceError: self = error
    case let error as RedisError: self = .redis(error)
    default: return nil
    }
  }

  private var kind: RedisError.Kind {
    switch self {
    case .redis(let error): error.kind
    case .otherChannel: .configuration
    }
  }

  /// Whether a new connection is needed. During other refusals the announcer keeps its connection,
  /// so that no watcher takes a missing connection for a missing instance.
  var endsConnection: Bool {
    kind == .unreachable || kind == .protocolViolation || kind == .tls || kind == .wrongServer
  }

  /// Whether trying the same again cannot help.
  var isFinal: Bool {
    kind == .refused || kind == .tls || kind == .protocolViolation || kind == .configuration
  }

  /// Whether a user who was told of an earlier failure has to be told of this one too, since only
  /// with this one trying again cannot help.
  func adds(to earlier: PresenceError?) -> Bool {
    guard let earlier else { return true }
    return isFinal && !earlier.isFinal
  }

  /// Whether no answer came within the time limit.
  var isTimeout: Bool {
    if case .redis(let error) = self { error.isTimeout } else { false }
  }

  var isConfiguration: Bool { kind == .configuration }
}
