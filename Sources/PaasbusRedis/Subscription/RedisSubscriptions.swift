import NIOCore
import Synchronization

/// One subscribed connection for many listeners, whose channels grow and shrink while it lives.
///
/// A plan of thirty connections cannot give each browser one. A channel is subscribed to when its first listener
/// comes and given up when the last one leaves. The connection is made again for ever once there was a first
/// contact, with all channels that then have listeners; the listeners are told that messages were lost.
package final class RedisSubscriptions: Sendable {
  package enum Notice: Sendable {
    case connectionLost(RedisError)
    case connectionBack
  }

  private struct State {
    /// The listeners, by channel and by pattern.
    var channels: [String: [ObjectIdentifier: ChannelListener]] = [:]
    var patterns: [String: [ObjectIdentifier: ChannelListener]] = [:]
    /// nil while there is none.
    var connection: RedisConnection?
    var hasEnded = false
  }

  /// How long nothing may come before the server is asked whether it is there.
  private static let quiet = Duration.seconds(4)

  private let connector: RedisConnector
  private let anchor: String
  private let notify: @Sendable (Notice) -> Void
  private let state = Mutex(State())

  /// - Parameters:
  ///   - anchor: a channel that is always subscribed to, since a connection without any is no subscribed one.
  ///   - notify: is told of outages.
  package init(
    _ connector: RedisConnector, anchor: String,
    notify: @escaping @Sendable (Notice) -> Void = { _ in }
  ) {
    (self.connector, self.anchor, self.notify) = (connector, anchor, notify)
  }

  // MARK: Listeners

  /// Adds a listener. Returns once the server has confirmed its channels, or at once while there is no connection.
  ///
  /// - Parameter capacity: how many bytes its queue holds.
  /// - Throws: ``RedisError`` where the server refuses a channel.
  package func listen(
    to channels: [String], patterns: [String] = [], capacity: Int = 1024 * 1024
  ) async throws -> ChannelListener {
    let listener = ChannelListener(channels: channels, patterns: patterns, capacity: capacity)
    let id = ObjectIdentifier(listener)
    // Under the lock, so that the server hears of changes in their order.
    let answers = state.withLock { state -> EventLoopFuture<[RedisValue]>? in
      var commands: [RedisCommand] = []
      for channel in channels {
        if state.channels[channel] == nil { commands.append(RedisCommand("SUBSCRIBE", channel)) }
        state.channels[channel, default: [:]][id] = listener
      }
      for pattern in patterns {
        if state.patterns[pattern] == nil { commands.append(RedisCommand("PSUBSCRIBE", pattern)) }
        state.patterns[pattern, default: [:]][id] = listener
      }
      if state.hasEnded { listener.end() }
      return commands.isEmpty ? nil : state.connection?.start(commands)
    }
    do {
      for reply in try await answers?.cancellableValue() ?? [] { try reply.get() }
    } catch let error as RedisError where error.kind == .unreachable {
      // The next connection subscribes to them.
    } catch {
      leave(listener)
      throw error
    }
    return listener
  }

  /// Removes a listener; a channel without another listener is given up.
  package func leave(_ listener: ChannelListener) {
    listener.end()
    let id = ObjectIdentifier(listener)
    state.withLock { state in
      var commands: [RedisCommand] = []
      for channel in listener.channels {
        guard state.channels[channel]?.removeValue(forKey: id) != nil else { continue }
        guard state.channels[channel]?.isEmpty == true else { continue }
        state.channels[channel] = nil
        if channel != anchor { commands.append(RedisCommand("UNSUBSCRIBE", channel)) }
      }
      for pattern in listener.patterns {
        guard state.patterns[pattern]?.removeValue(forKey: id) != nil else { continue }
        guard state.patterns[pattern]?.isEmpty == true else { continue }
        state.patterns[pattern] = nil
        commands.append(RedisCommand("PUNSUBSCRIBE", pattern))
      }
      if !commands.isEmpty { _ = state.connection?.start(commands) }
    }
  }

  // MARK: Connection

  /// Keeps the connection until the task is cancelled; then all listeners have ended.
  ///
  /// - Throws: ``RedisError`` when the first contact fails. Later failures are followed by new attempts, for ever.
  package func run() async throws {
    defer { endAll() }
    var backoff = Backoff()
    var connected: ContinuousClock.Instant?
    var (hasContact, isLost) = (false, false)
    while !Task.isCancelled {
      do {
        try await connector.withConnection { connection in
          let mailbox = try await subscribe(on: connection, after: hasContact)
          if isLost { notify(.connectionBack) }
          (hasContact, isLost, connected) = (true, false, .now)
          try await deliver(from: mailbox, connection)
        }
      } catch is CancellationError {
        return
      } catch let error as RedisError where hasContact {
        state.withLock { $0.connection = nil }
        if !isLost { notify(.connectionLost(error)) }
        isLost = true
        backoff.connectionEnded(since: connected)
        connected = nil
        try? await Task.sleep(for: backoff.next())
      }
    }
  }

  /// Subscribes to all that is listened to; from then on changes go to this connection.
  private func subscribe(
    on connection: RedisConnection, after isReconnected: Bool
  ) async throws -> RedisMailbox {
    let mailbox = RedisMailbox()
    connection.deliver(to: mailbox)
    let answers = state.withLock { state in
      state.connection = connection
      let channels = Set(state.channels.keys).union([anchor]).sorted()
      if isReconnected {
        for listener in Self.listeners(state) { listener.interrupt() }
      }
      return connection.start(
        channels.map { RedisCommand("SUBSCRIBE", $0) }
          + state.patterns.keys.sorted().map { RedisCommand("PSUBSCRIBE", $0) })
    }
    for reply in try await answers.cancellableValue() { try reply.get() }
    return mailbox
  }

  private func deliver(from mailbox: RedisMailbox, _ connection: RedisConnection) async throws {
    var isAsked = false
    while true {
      let timer = connection.channel.eventLoop.scheduleTask(in: TimeAmount(Self.quiet)) {
        mailbox.wake()
      }
      defer { timer.cancel() }
      switch await mailbox.next(onResume: { connection.resumeReading() }) {
      case .cancelled: throw CancellationError()
      case .ended(let error): throw error
      case .timeOut:
        guard !isAsked else { throw RedisError(.noAnswer(within: Self.quiet)) }
        connection.write(RedisCommand("PING"))
        isAsked = true
      case .messages(let batch):
        isAsked = false
        hand(out: batch)
      }
    }
  }

  private func hand(out batch: RedisBatch) {
    for case .message(let message) in batch {
      let listeners = state.withLock { state in
        let text = String(decoding: message.pattern ?? message.channel, as: UTF8.self)
        return message.pattern == nil ? state.channels[text] : state.patterns[text]
      }
      for listener in (listeners ?? [:]).values { listener.put(message) }
    }
  }

  private static func listeners(_ state: State) -> [ChannelListener] {
    let all = Array(state.channels.values) + Array(state.patterns.values)
    return Array(all.reduce(into: [:]) { $0.merge($1) { $1 } }.values)
  }

  private func endAll() {
    let listeners = state.withLock { state in
      state.hasEnded = true
      state.connection = nil
      return Self.listeners(state)
    }
    for listener in listeners { listener.end() }
  }
}
