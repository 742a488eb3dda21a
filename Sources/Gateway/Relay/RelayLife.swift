import ExpressSessions
import NIOCore
import PaasbusRedis

/// One pair of connections of a ``RelayFeed``: what it hears, marks, asks and lends. Lives on the event loop.
final class RelayLife {
  /// What is to be asked of Redis, one after the other.
  private enum Work {
    case mark(author: String)
    case say(RelayTalk)
    case lend(request: String, before: RelayMark)
    case fetch(lender: String, piece: Int)
  }

  /// How long no mark may come before this gateway publishes one.
  private static let markInterval = Duration.seconds(1)
  /// As many bytes are a segment at most, approximately.
  private static let maxSegment = 256 * 1024
  /// How long nothing may come before the server is asked whether it is there.
  private static let quiet = Duration.seconds(4)
  private static let tick = Duration.milliseconds(100)
  private static let maxPiece = 1024 * 1024
  /// How long a piece waits to be fetched, in ms.
  private static let pieceLife = 30_000
  private static let maxHandover = 4 * 1024 * 1024
  private static let handoverLife = 600_000

  private let feed: RelayFeed
  private let author: String
  private var process = ""
  private var commands: RedisConnection?
  private let work: AsyncStream<Work>
  private let works: AsyncStream<Work>.Continuation
  private var lastMark = ContinuousClock.now
  private var isMarkAsked = false
  private var heardSinceMark = 0
  private var firstMark: RelayMark?
  /// How far the life before had heard.
  private var lastEnd: RelayPosition?
  private var others = 0
  private var filling: RelayFilling?
  private var fetched: [Int: ByteBuffer] = [:]
  private var whenReady: () -> Void = {}

  init(_ feed: RelayFeed, number: Int) {
    self.feed = feed
    author = "\(feed.name)-\(number)"
    (work, works) = AsyncStream<Work>.makeStream()
  }

  private var keys: RelayKeys { feed.configuration.keys }

  // MARK: Connections

  /// Hears until a connection breaks or the task is cancelled.
  ///
  /// - Parameter ready: called once what was missed has been filled in.
  /// - Throws: `RedisError`, ``RelayFeed/Fault``.
  func run(_ ready: @escaping () -> Void) async throws {
    whenReady = ready
    let connector = feed.connector.routed(to: keys.clock)
    try await connector.withConnection { commands in
      try await connector.withConnection { subscribed in
        guard try await connector.masters(knownBy: commands).isEmpty else {
          throw RelayFeed.Fault.cluster
        }
        process = try await Self.process(commands)
        guard try await Self.process(subscribed) == process else { throw RedisError(.closed) }
        self.commands = commands
        let subscription = try await subscribed.subscribe(
          to: [keys.clock], patterns: [feed.configuration.channel.pattern])
        try await join(commands)
        try await withThrowingTaskGroup(of: Void.self) { group in
          let life = NIOLoopBound(self, eventLoop: feed.connector.thread.loop)
          group.addTask { try await life.value.hear(subscription) }
          group.addTask { try await life.value.carryOut() }
          group.addTask { try await life.value.keepTime() }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
    }
  }

  /// The Redis process at the other end; a hyphen where this user may not ask.
  private static func process(_ connection: RedisConnection) async throws -> String {
    let reply = try await connection.pipeline([RedisCommand("INFO", "server")]).first
    let line = (reply?.string ?? "").split(whereSeparator: \.isNewline).first {
      $0.hasPrefix("run_id:")
    }
    return line.map { String($0.dropFirst("run_id:".count)) } ?? "-"
  }

  private func join(_ commands: RedisConnection) async throws {
    let counted = try await commands.send(RedisCommand("PUBSUB", "NUMSUB", keys.clock))
    others = max(0, Int(counted.elements.at(1)?.integer ?? 1) - 1)
    lastEnd = feed.memory.end
    feed.change { $0.beginLife(process: process, author: author) }
    feed.begin(self)
    try await publishMark(by: author, on: commands)
    // What was kept, and what the last gateway left. It lies before the own mark, or is heard as well.
    let replies = try await commands.pipeline([
      RedisCommand("ZRANGE", keys.kept, "0", "-1"), RedisCommand("HGET", keys.clock, "handover"),
    ])
    let kept = (replies.first?.elements ?? []).compactMap { entry in
      entry.bytes.flatMap { KeptMessage($0, feed.configuration.channel) }
    }
    feed.change { $0.unite(Dictionary(kept.map { ($0.mark, $0.segment) }) { $1 }) }
    if let name = replies.at(1)?.string,
      let bytes = try await commands.send(RedisCommand("GET", keys.handover(name))).bytes,
      let segments = try? RelaySegments.decode(ByteBuffer(bytes: bytes))
    {
      feed.change { $0.unite(segments) }
    }
  }

  private func publishMark(by author: String, on commands: RedisConnection) async throws {
    let pattern = feed.configuration.channel.pattern
    let arguments = [
      keys.clock, "1", pattern, author, "\(feed.memory.highest)", RelayFeed.randomWord(6),
    ]
    let reply = try await RelayScripts.mark.run(
      on: commands, keys: [Array(keys.clock.utf8)], arguments: arguments.map { Array($0.utf8) }
    ).reply
    guard reply.elements.first?.string == "marked" else { throw RelayFeed.Fault.otherGateways }
  }

  // MARK: Hearing

  private func hear(_ subscription: RedisSubscription) async throws {
    var isAsked = false
    while true {
      switch await subscription.next(within: Self.quiet) {
      case .cancelled: throw CancellationError()
      case .ended(let error): throw error
      case .timeOut:
        guard !isAsked else { throw RedisError(.noAnswer(within: Self.quiet)) }
        subscription.ping()
        isAsked = true
      case .messages(let batch):
        isAsked = false
        for case .message(let message) in batch {
          if message.pattern == nil {
            try hearTalk(message.payload)
          } else {
            hear(message)
          }
        }
      }
    }
  }

  private func hear(_ message: RedisMessage) {
    let parts = feed.configuration.channel.parts(of: message.channel)
    let relayed = parts.map { user, job in
      // Of one that is too large only so much is remembered that it is seen to be.
      RelayMessage(
        user: user, job: job,
        payload: Array(message.payload.prefix(feed.configuration.maxMessage + 1)))
    }
    heardSinceMark += message.payload.count
    guard let position = feed.change({ $0.hear(relayed) }) else { return }
    if let relayed { feed.deliver(relayed, at: position) }
    if heardSinceMark > Self.maxSegment { askForMark() }
  }

  private func hearTalk(_ bytes: ArraySlice<UInt8>) throws {
    guard let talk = RelayTalk(bytes) else { return feed.change { $0.hearPublication() } }
    guard case .mark(let mark) = talk else {
      feed.change { $0.hearPublication() }
      return hear(talk)
    }
    (lastMark, heardSinceMark) = (.now, 0)
    switch feed.change({ $0.hear(mark) }) {
    case .ignored: break
    case .otherProcess: throw RedisError(.closed)
    case .began:
      firstMark = mark.mark
      if others > 0 { beginFilling() } else { becomeReady() }
    case .heard: feed.markArrived(mark.author)
    }
  }

  private func hear(_ talk: RelayTalk) {
    switch talk {
    case .need(let request, let mark, let end): answer(request, mark, end)
    case .take(let request, feed.name):
      if let mark = borrowers.removeValue(forKey: request) {
        works.yield(.lend(request: request, before: mark))
      }
    case .offer, .nothing, .piece:
      carryOut(filling?.hear(talk, now: .now) ?? [])
    case .mark, .take: break
    }
  }

  // MARK: Lending

  /// The first marks of those who were offered something.
  private var borrowers: [String: RelayMark] = [:]

  private func answer(_ request: String, _ mark: RelayMark, _ end: RelayPosition?) {
    guard !request.hasPrefix(feed.name) else { return }
    // One that comes may have what was lacking before.
    if hasHole, filling == nil { beginFilling() }
    let segments = feed.memory.ring.before(mark)
    guard !segments.isEmpty else {
      works.yield(.say(.nothing(request: request, lender: feed.name)))
      return
    }
    borrowers[request] = mark
    let isWhole = end.map {
      RelayAttachment.isWhole(
        since: .position($0), to: RelayPosition(mark, 0), in: feed.memory.ring)
    }
    works.yield(
      .say(
        .offer(
          request: request, lender: feed.name, size: segments.values.reduce(0) { $0 + $1.size },
          isWhole: isWhole ?? false)))
  }

  private func lend(_ request: String, before mark: RelayMark, on commands: RedisConnection)
    async throws
  {
    var bytes = RelaySegments.encode(feed.memory.ring.before(mark))
    var number = 0
    repeat {
      let piece = bytes.readBytes(length: min(Self.maxPiece, bytes.readableBytes)) ?? []
      let isLast = bytes.readableBytes == 0
      let reply = try await commands.pipeline([
        RedisCommand(arguments: [
          Array("SET".utf8), Array(keys.fill(request, by: feed.name, piece: number).utf8), piece,
          Array("PX".utf8), Array("\(Self.pieceLife)".utf8),
        ])
      ]).first
      // A server whose memory is full takes none, and nothing else is wrong with it.
      if case .error? = reply {
        return try await say(.nothing(request: request, lender: feed.name), on: commands)
      }
      try await say(
        .piece(request: request, lender: feed.name, number: number, isLast: isLast), on: commands)
      number += 1
    } while bytes.readableBytes > 0
  }

  // MARK: Filling

  private func beginFilling() {
    guard let firstMark else { return }
    let request = "\(feed.name)-\(RelayFeed.randomWord(6))"
    filling = RelayFilling(request: request, others: feed.isReady ? 1 : others, now: .now)
    works.yield(.say(.need(request: request, before: firstMark, end: lastEnd)))
  }

  /// Whether something between the last life and this one is not known.
  private var hasHole: Bool {
    guard let lastEnd, let position = feed.memory.position,
      // What is too old to be remembered is not asked for.
      feed.memory.ring.segments[lastEnd.mark] != nil
    else { return false }
    return !RelayAttachment.isWhole(
      since: .position(lastEnd), to: position, in: feed.memory.ring)
  }

  private func carryOut(_ actions: [RelayFilling.Action]) {
    for action in actions {
      switch action {
      case .take(let lender):
        fetched = [:]
        works.yield(.say(.take(request: filling?.request ?? "", lender: lender)))
      case .fetch(let lender, let piece): works.yield(.fetch(lender: lender, piece: piece))
      case .unite: unite()
      case .finish:
        filling = nil
        becomeReady()
      }
    }
  }

  private func unite() {
    var bytes = ByteBuffer()
    for number in fetched.keys.sorted() {
      if var piece = fetched[number] { bytes.writeBuffer(&piece) }
    }
    fetched = [:]
    if let segments = try? RelaySegments.decode(bytes) {
      feed.change { $0.unite(segments) }
      feed.countFill()
    }
    guard lastEnd != nil, !hasHole else {
      return carryOut(filling?.goOn(now: .now) ?? [.finish])
    }
    carryOut([.finish])
  }

  private func becomeReady() {
    guard !feed.isReady else { return }
    feed.becomeReady()
    whenReady()
  }

  // MARK: Work

  private func carryOut() async throws {
    guard let commands else { return }
    for await item in work {
      switch item {
      case .mark(let author):
        isMarkAsked = false
        do {
          try await publishMark(by: author, on: commands)
        } catch let error as RedisError where error.kind == .unavailable {
          // Its memory is full, or it is busy: it is asked again when no mark has come for a while.
        }
      case .say(let talk): try await say(talk, on: commands)
      case .lend(let request, let mark): try await lend(request, before: mark, on: commands)
      case .fetch(let lender, let piece):
        let key = keys.fill(filling?.request ?? "", by: lender, piece: piece)
        let replies = try await commands.pipeline([
          RedisCommand("GET", key), RedisCommand("DEL", key),
        ])
        guard let bytes = replies.first?.bytes, filling?.taken == lender else { continue }
        fetched[piece] = ByteBuffer(bytes: bytes)
        carryOut(filling?.received(now: .now) ?? [])
      }
    }
  }

  private func say(_ talk: RelayTalk, on commands: RedisConnection) async throws {
    _ = try await commands.send(RedisCommand("PUBLISH", keys.clock, talk.text))
  }

  private func keepTime() async throws {
    // Gateways that hear the same silence must not all speak at once.
    let jitter = Duration.milliseconds(Int.random(in: 0...200))
    while true {
      try await feed.connector.thread.sleep(for: Self.tick)
      if ContinuousClock.now - lastMark > Self.markInterval + jitter { askForMark() }
      carryOut(filling?.tick(.now) ?? [])
    }
  }

  private func askForMark() {
    guard !isMarkAsked else { return }
    isMarkAsked = true
    works.yield(.mark(author: author))
  }

  func requestMark(by author: String) { works.yield(.mark(author: author)) }

  // MARK: The end

  /// Leaves what is remembered to a gateway that comes within ten minutes. The end of this one waits for it, but not
  /// for long.
  func handOver(_ ring: RelayRing) async {
    let bytes = RelaySegments.encode(ring.segments)
    guard bytes.readableBytes <= Self.maxHandover else { return }
    let name = RelayFeed.randomWord(12)
    let connector = feed.connector.routed(to: keys.clock)
    try? await connector.withConnection { connection in
      let memory = try await connection.send(RedisCommand("INFO", "memory")).string ?? ""
      guard !Self.isNearlyFull(memory) else { return }
      _ = try await connection.transaction([
        RedisCommand(arguments: [
          Array("SET".utf8), Array(keys.handover(name).utf8), Array(bytes.readableBytesView),
          Array("PX".utf8), Array("\(Self.handoverLife)".utf8),
        ]),
        RedisCommand("HSET", keys.clock, "handover", name),
      ])
    }
  }

  private static func isNearlyFull(_ information: String) -> Bool {
    func number(_ name: String) -> Int64 {
      information.split(whereSeparator: \.isNewline).first { $0.hasPrefix("\(name):") }
        .flatMap { Int64($0.dropFirst(name.count + 1)) } ?? 0
    }
    let most = number("maxmemory")
    return most > 0 && number("used_memory") > most / 10 * 9
  }
}

/// A message that `publish --keep` stored: `LINE MARK PUBLISHED LENGTH CHANNELPAYLOAD`.
struct KeptMessage {
  let mark: RelayMark
  let segment: RelayRing.Segment

  init?(_ bytes: some Collection<UInt8>, _ form: RelayChannel) {
    var rest = Array(bytes)[...]
    func word() -> String? {
      guard let end = rest.firstIndex(of: UInt8(ascii: " ")) else { return nil }
      defer { rest = rest[(end + 1)...] }
      return String(decoding: rest[..<end], as: UTF8.self)
    }
    guard let line = word(), RelayPosition.isLine(line), let number = word().flatMap({ Int64($0) }),
      number > 0, let published = word(), let length = word().flatMap({ Int($0) }), length >= 0,
      rest.count >= length
    else { return nil }
    mark = RelayMark(line: line, number: number)
    var segment = RelayRing.Segment(publishedBefore: Int64(published))
    (segment.heard, segment.publications) = (1, 1)
    if let parts = form.parts(of: rest.prefix(length)) {
      segment.insert(
        RelayMessage(user: parts.user, job: parts.job, payload: Array(rest.dropFirst(length))),
        at: 1)
    }
    self.segment = segment
  }
}

/// The relay's scripts.
enum RelayScripts {
  static let mark = RedisScript(hashing: PackageResources.mark_lua)
  static let keep = RedisScript(hashing: PackageResources.keep_lua)
}
