import ExpressSessions
import NIOCore
import NIOWebSocket
import PaasbusRedis

/// A browser at the relay, by WebSocket or by Server-Sent Events. Lives on the event loop.
///
/// What it missed is written at its own pace; what happens meanwhile waits, up to a bound. From then on everything is
/// pushed, and one that leaves too much of it unread is ended: it can go on where it is.
final class RelaySocket {
  enum Output {
    /// - Parameter isRaw: bare payloads, as in the tutorial.
    case webSocket(WebSocketConnection, isRaw: Bool)
    case stream(ResponseStream)
  }

  /// How much may wait while it catches up, in bytes.
  static let maxQueue = 1024 * 1024
  /// After these it makes sense to come back at once.
  private static let passing: Set<WebSocketConnection.Code> = [
    .goingAway, .silent, .tooSlow, .noRedis,
  ]
  private static let positionInterval = TimeAmount.seconds(25)
  private static let maxSilence = TimeAmount.seconds(14)
  private static let touchInterval = TimeAmount.seconds(30)

  let user: [UInt8]
  let session: SessionID
  private let output: Output
  private let thread: ConnectionThread
  private let ended: (WebSocketConnection.Code?) -> Void
  private var listener: RelayFeed.Listener?
  private var position: RelayPosition?
  /// What came while it caught up; nil once it has.
  private var waiting: [RelayAttachment.Item]? = []
  private var waitingSize = 0
  private var lastPosition = NIODeadline.now()
  private var lastWrite = NIODeadline.now()
  private var lastTouch = NIODeadline.now()
  private var hasEnded = false
  var isEnded: Bool { hasEnded }
  private(set) var deliveries: Int64 = 0
  /// Whether it got all that it missed; nil where it asked for nothing.
  private(set) var isRecovered: Bool?

  /// - Parameter ended: called once, with the code of an end that came from here.
  init(
    user: [UInt8], session: SessionID, _ output: Output, thread: ConnectionThread,
    ended: @escaping (WebSocketConnection.Code?) -> Void
  ) {
    (self.user, self.session, self.output, self.ended) = (user, session, output, ended)
    self.thread = thread
  }

  // MARK: Beginning

  /// Attaches it, hands over what it missed, and then what comes. Returns once it has caught up.
  func run(_ feed: RelayFeed, since: RelayAttachment.Since?) async {
    let attached = await feed.attach(user, since: since) { [weak self] in self?.receive($0) }
    guard let attached else { return close(.noRedis) }
    isRecovered = attached.isRecovered
    guard !hasEnded else { return feed.detach(attached.listener) }
    (listener, position) = (attached.listener, attached.position)
    do {
      try await write(
        RelayText.hello(user, attached.position, isRecovered: attached.isRecovered),
        id: attached.items.isEmpty ? attached.position : nil)
      for item in attached.items { try await write(item) }
      try await writeWaiting()
    } catch {
      end(nil)
    }
  }

  private func writeWaiting() async throws {
    while let items = waiting, !items.isEmpty {
      (waiting, waitingSize) = ([], 0)
      for item in items { try await write(item) }
    }
    waiting = nil
  }

  /// Hands over, at its pace, what it missed while its gateway was cut off.
  private func catchUp(_ items: [RelayAttachment.Item]) {
    waiting = items
    let bound = NIOLoopBound(self, eventLoop: thread.loop)
    Task(executorPreference: thread.executor) {
      do {
        try await bound.value.writeWaiting()
      } catch {
        bound.value.end(nil)
      }
    }
  }

  private func receive(_ news: RelayFeed.News) {
    guard !hasEnded else { return }
    switch news {
    case .lost: close(.noRedis)
    case .items(let items):
      guard waiting != nil else {
        // What happens now comes alone.
        if items.count > 1 { catchUp(items) } else { items.forEach(push) }
        return
      }
      waiting? += items
      for case .message(_, let message) in items { waitingSize += message.size }
      if waitingSize > Self.maxQueue { close(.tooSlow) }
    }
  }

  /// The listener, once it has attached.
  func leave(_ feed: RelayFeed) {
    if let listener { feed.detach(listener) }
    listener = nil
  }

  // MARK: Output

  /// What waits for the browser, in bytes.
  var queued: Int {
    switch output {
    case .webSocket(let socket, _): waitingSize + socket.unread
    case .stream(let stream): waitingSize + stream.unread
    }
  }

  private func note(_ item: RelayAttachment.Item) {
    position = item.position
    lastWrite = .now()
    if case .message = item { deliveries += 1 }
  }

  private func push(_ item: RelayAttachment.Item) {
    guard !hasEnded else { return }
    note(item)
    switch output {
    case .webSocket(let socket, let isRaw):
      guard socket.isWritable else { return close(.tooSlow) }
      guard let (opcode, bytes) = Self.frame(item, isRaw: isRaw) else { return }
      socket.send(opcode, bytes)
    case .stream(let stream):
      stream.push(ResponseStream.Piece(Self.event(RelayText.item(item), id: item.position)))
    }
  }

  private func write(_ item: RelayAttachment.Item) async throws {
    note(item)
    guard case .webSocket(let socket, isRaw: true) = output else {
      return try await write(RelayText.item(item), id: item.position)
    }
    guard let (opcode, bytes) = Self.frame(item, isRaw: true) else { return }
    try await write(opcode, bytes, to: socket)
  }

  private func write(_ text: [UInt8], id: RelayPosition?) async throws {
    switch output {
    case .webSocket(_, isRaw: true): return
    case .webSocket(let socket, _):
      try await write(.text, text, to: socket)
    case .stream(let stream): try await stream.write(Self.event(text, id: id))
    }
  }

  private func write(
    _ opcode: WebSocketOpcode, _ bytes: [UInt8], to socket: WebSocketConnection
  ) async throws {
    guard !hasEnded else { throw ResponseStream.Ended() }
    let isSent = await withCheckedContinuation { continuation in
      if !socket.send(opcode, bytes, { continuation.resume(returning: true) }) {
        continuation.resume(returning: false)
      }
    }
    guard isSent, !hasEnded else { throw ResponseStream.Ended() }
  }

  private static func frame(
    _ item: RelayAttachment.Item, isRaw: Bool
  ) -> (WebSocketOpcode, [UInt8])? {
    guard isRaw else { return (.text, RelayText.item(item)) }
    guard case .message(_, let message) = item else { return nil }
    let isText = String(validating: message.payload, as: UTF8.self) != nil
    return (isText ? .text : .binary, message.payload)
  }

  private static func event(_ text: [UInt8], id: RelayPosition?) -> [UInt8] {
    let name = id.map { "id: \($0)\n" } ?? ""
    return Array("\(name)data: ".utf8) + text + Array("\n\n".utf8)
  }

  // MARK: Time

  /// Called every two seconds.
  ///
  /// - Parameter position: where its gateway is, so that a page that gets nothing can go on later.
  func tick(_ now: NIODeadline, at position: RelayPosition?) {
    guard !hasEnded, waiting == nil else { return }
    if now - lastPosition >= Self.positionInterval, let position {
      lastPosition = now
      lastWrite = now
      let text = RelayText.position(position)
      switch output {
      case .webSocket(let socket, let isRaw):
        if !isRaw { socket.send(.text, text) }
      case .stream(let stream):
        stream.push(ResponseStream.Piece(Self.event(text, id: position)))
      }
    } else if case .stream(let stream) = output, now - lastWrite >= Self.maxSilence {
      lastWrite = now
      stream.push(ResponseStream.Piece(Array(":\n\n".utf8)))
    }
  }

  /// Whether its session is to be prolonged now.
  func isTouchDue(_ now: NIODeadline) -> Bool {
    guard !hasEnded, now - lastTouch >= Self.touchInterval else { return false }
    lastTouch = now
    return true
  }

  // MARK: The end

  /// Says why, and ends it.
  func close(_ code: WebSocketConnection.Code) {
    guard !hasEnded else { return }
    let bye = RelayText.bye(code, retry: Self.passing.contains(code))
    switch output {
    case .webSocket(let socket, let isRaw):
      if !isRaw { socket.send(.text, bye) }
      end(code)
      socket.close(code)
    case .stream(let stream):
      stream.push(ResponseStream.Piece(Self.event(bye, id: nil)))
      end(code)
      stream.end()
    }
  }

  /// - Parameter code: nil where the other end has gone.
  func end(_ code: WebSocketConnection.Code?) {
    guard !hasEnded else { return }
    hasEnded = true
    waiting = nil
    ended(code)
  }
}
