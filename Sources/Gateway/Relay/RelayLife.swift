import ExpressSessions
import NIOCore
import PaasbusRedis

/// What a gateway asks of Redis, one after the other.
enum RelayWork {
  case mark(author: String)
  case say(RelayTalk)
  case lend(request: String, piece: Int)
  case fetch(lender: String, piece: Int)
  /// Look again at what gateways left that ended.
  case lookAgain
}

/// One pair of connections of a ``RelayFeed``: what it hears, marks and says. Lives on the event loop.
final class RelayLife {
  /// How long no mark may come before this gateway publishes one.
  private static let markInterval = Duration.seconds(1)
  /// As many bytes are a segment at most, approximately.
  private static let maxSegment = 256 * 1024
  /// How long the server may say nothing.
  private static let patience = Duration.seconds(5)
  private static let tick = Duration.milliseconds(100)
  private static let maxHandover = 4 * 1024 * 1024
  private static let handoverLife = 600_000

  private let feed: RelayFeed
  private let author: String
  private let lending: RelayLending
  private var borrowing: RelayBorrowing
  private let work: AsyncStream<RelayWork>
  private let works: AsyncStream<RelayWork>.Continuation
  private var lastMark = ContinuousClock.now
  private var isMarkAsked = false
  private var heardSinceMark = 0
  private var firstMark: RelayMark?
  /// When anything was last heard.
  private(set) var lastHeard = ContinuousClock.now

  init(_ feed: RelayFeed, number: Int) {
    let (work, works) = AsyncStream<RelayWork>.makeStream()
    (self.feed, self.work, self.works) = (feed, work, works)
    author = "\(feed.name)-\(number)"
    lending = RelayLending(feed) { works.yield($0) }
    borrowing = RelayBorrowing(feed, others: 0, lastEnd: nil) { works.yield($0) }
  }

  private var keys: RelayKeys { feed.configuration.keys }

  // MARK: Connections

  /// Hears until a connection breaks or the task is cancelled.
  ///
  /// - Throws: `RedisError`, ``RelayFeed/Fault``.
  func run() async throws {
    let connector = feed.connector.routed(to: keys.clock)
    try await connector.withConnection { commands in
      try await connector.withConnection { subscribed in
        guard try await connector.masters(knownBy: commands).isEmpty else {
          throw RelayFeed.Fault.cluster
        }
        let process = try await Self.process(commands)
        guard try await Self.process(subscribed) == process else { throw RedisError(.closed) }
        let subscription = try await subscribed.subscribe(
          to: [keys.clock], patterns: [feed.configuration.channel.pattern])
        try await join(commands, process)
        try await withThrowingTaskGroup(of: Void.self) { group in
          let life = NIOLoopBound(self, eventLoop: feed.connector.thread.loop)
          group.addTask { try await life.value.hear(subscription) }
          group.addTask { try await life.value.carryOut(on: commands) }
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

  private func join(_ commands: RedisConnection, _ process: String) async throws {
    let counted = try await commands.send(RedisCommand("PUBSUB", "NUMSUB", keys.clock))
    borrowing = RelayBorrowing(
      feed, others: max(0, Int(counted.elements.at(1)?.integer ?? 1) - 1),
      lastEnd: feed.memory.end
    ) { [works] in works.yield($0) }
    feed.change { $0.beginLife(process: process, author: author) }
    feed.begin(self)
    try await publishMark(by: author, on: commands)
    // It lies before the own mark, or is heard as well.
    try await uniteLeft(commands)
  }

  /// Unites what was kept, and what the last gateway left, with what is known.
  private func uniteLeft(_ commands: RedisConnection) async throws {
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
      keys.clock, RelayKeys.version, pattern, author, "\(feed.memory.highest)",
      RelayFeed.randomWord(6),
    ]
    let reply = try await RelayScripts.mark.run(
      on: commands, keys: [Array(keys.clock.utf8)], arguments: arguments.map { Array($0.utf8) }
    ).reply
    guard reply.elements.first?.string == "marked" else { throw RelayFeed.Fault.otherGateways }
  }

  // MARK: Hearing

  private func hear(_ subscription: RedisSubscription) async throws {
    try await subscription.follow(patience: Self.patience) { messages in
      lastHeard = .now
      for message in messages {
        if message.pattern == nil { try hearTalk(message.payload) } else { hear(message) }
      }
      return true
    }
  }

  private func hear(_ message: RedisMessage) {
    let parts = feed.configuration.channel.parts(of: message.channel)
    let length = message.payload.count
    let relayed = parts.map { user, job in
      RelayMessage(
        user: user, job: job,
        payload: length <= feed.configuration.maxMessage ? Array(message.payload) : [],
        length: length)
    }
    heardSinceMark += length
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
      borrowing.begin(before: mark.mark)
    case .heard: feed.markArrived(mark.author)
    }
  }

  private func hear(_ talk: RelayTalk) {
    switch talk {
    case .need(let request, let mark, let end):
      guard !request.hasPrefix(feed.name) else { return }
      borrowing.otherCame(before: firstMark)
      lending.answer(request, before: mark, end: end)
    case .take(let request, feed.name, let piece): lending.take(request, piece)
    case .offer, .nothing, .piece: borrowing.hear(talk)
    case .mark, .take: break
    }
  }

  // MARK: Work

  private func carryOut(on commands: RedisConnection) async throws {
    for await item in work {
      switch item {
      case .mark(let author):
        isMarkAsked = false
        do {
          try await publishMark(by: author, on: commands)
        } catch let error as RedisError where error.kind == .unavailable {
          // Its memory is full, or it is busy: it is asked again when no mark has come for a while.
        }
      case .say(let talk):
        _ = try await commands.send(RedisCommand("PUBLISH", keys.clock, talk.text))
      case .lend(let request, let piece): try await lending.lend(request, piece, on: commands)
      case .fetch(let lender, let piece): try await borrowing.fetch(lender, piece, on: commands)
      case .lookAgain:
        try await uniteLeft(commands)
        borrowing.hasLooked()
      }
    }
  }

  private func keepTime() async throws {
    // Gateways that hear the same silence must not all speak at once.
    let jitter = Duration.milliseconds(Int.random(in: 0...200))
    while true {
      try await feed.connector.thread.sleep(for: Self.tick)
      if ContinuousClock.now - lastMark > Self.markInterval + jitter { askForMark() }
      borrowing.tick(.now)
      lending.tick(.now)
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
      RelayMark.trusted.contains(number), let published = word(),
      let length = word().flatMap({ Int($0) }), length >= 0, rest.count >= length
    else { return nil }
    mark = RelayMark(line: line, number: number)
    let count = Int64(published).flatMap { RelayMark.trustedCounts.contains($0) ? $0 : nil }
    var segment = RelayRing.Segment(publishedBefore: count)
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
