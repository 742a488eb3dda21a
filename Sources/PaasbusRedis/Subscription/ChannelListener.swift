import Synchronization

/// One of many listeners on the connection of a ``RedisSubscriptions``. It has a queue of its own, whose memory is
/// bounded: a slow listener loses messages and is told so, and delays no other listener.
package final class ChannelListener: Sendable {
  package enum Arrival: Sendable, Equatable {
    /// At least one, in the order of the connection.
    case messages([RedisMessage])
    /// Messages were lost here: the connection broke and is back, so that what was published in between is gone;
    /// or more came than the queue holds.
    case interruption
    /// The listener has left, or the subscriptions have ended.
    case ended
  }

  private struct State {
    var messages: [RedisMessage] = []
    var size = 0
    /// Comes after the messages that were queued before it.
    var isInterrupted = false
    var hasEnded = false
    var waiting: CheckedContinuation<Arrival, Never>?
  }

  /// What a message takes beside its text.
  private static let overhead = 128

  package let channels: [String]
  package let patterns: [String]
  private let capacity: Int
  private let state = Mutex(State())

  /// - Parameter capacity: how many bytes its queue holds.
  init(channels: [String], patterns: [String], capacity: Int) {
    (self.channels, self.patterns, self.capacity) = (channels, patterns, capacity)
  }

  /// What comes next. For one reader.
  package func next() async -> Arrival {
    await withTaskCancellationHandler {
      await withCheckedContinuation { (waiting: CheckedContinuation<Arrival, Never>) in
        let ready = state.withLock { state -> Arrival? in
          let ready = Self.takeArrival(&state)
          if ready == nil { state.waiting = waiting }
          return ready
        }
        if let ready { waiting.resume(returning: ready) }
      }
    } onCancel: {
      end()
    }
  }

  private static func takeArrival(_ state: inout State) -> Arrival? {
    if !state.messages.isEmpty {
      defer { (state.messages, state.size) = ([], 0) }
      return .messages(state.messages)
    }
    if state.isInterrupted {
      state.isInterrupted = false
      return .interruption
    }
    return state.hasEnded ? .ended : nil
  }

  func put(_ message: RedisMessage) {
    change { state in
      // Behind an interruption nothing is queued until it has been told.
      guard !state.isInterrupted, !state.hasEnded else { return }
      let size = message.channel.count + message.payload.count + Self.overhead
      guard state.size + size <= self.capacity else {
        state.isInterrupted = true
        return
      }
      // In memory of its own, since a slow listener would keep all that came with it.
      state.messages.append(message.copied)
      state.size += size
    }
  }

  func interrupt() { change { $0.isInterrupted = true } }
  func end() { change { $0.hasEnded = true } }

  private func change(_ change: (inout State) -> Void) {
    let (waiting, arrival) = state.withLock {
      state -> (CheckedContinuation<Arrival, Never>?, Arrival?) in
      change(&state)
      guard state.waiting != nil, let arrival = Self.takeArrival(&state) else { return (nil, nil) }
      return (state.waiting.take(), arrival)
    }
    if let arrival { waiting?.resume(returning: arrival) }
  }
}

extension RedisMessage {
  fileprivate var copied: RedisMessage {
    RedisMessage(
      channel: ArraySlice(Array(channel)), pattern: pattern.map { ArraySlice(Array($0)) },
      payload: ArraySlice(Array(payload)))
  }
}
