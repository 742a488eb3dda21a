import TestSupport

@testable import Gateway

/// Gateways around one Redis, as a model: what happens is drawn, and what sockets get is compared with what was
/// published.
struct RelayWorld {
  /// What the server sends all its subscribers, in its order.
  enum Entry {
    case mark(RelayMemory.HeardMark)
    /// The number of a message among all that were ever published, and its user; nil for a channel of another form.
    case message(Int, user: Int?)
    /// Gateways talk to each other.
    case talk
  }

  struct Server {
    var process = 1
    var line = "line1"
    var lastMark: Int64 = 1000
    var published: Int64 = 0
    var log: [Entry] = []
    /// Each a ring, and how much of the log lay before it was stored.
    var handover: (ring: [RelayMark: RelayRing.Segment], length: Int, process: Int)?
  }

  struct Socket {
    var user: Int
    /// What it has got: messages by number, -1 for a gap, -2 for a gap after which messages may come again.
    var got: [Int] = []
    /// How many messages had been published when it first attached.
    var begun: Int
    var position: RelayPosition?
    /// The gateway that it is at.
    var gateway: Int?
  }

  struct Node {
    var memory: RelayMemory
    var life = 0
    /// What it has read of the log; nil while it has no connection.
    var cursor: Int?
    /// Whether others were subscribed when it joined.
    var hasPeers = false
    var firstMark: RelayMark?
    /// Where the own first mark is in the log. Those who have read that far have heard what this one asks for.
    var begun = 0
  }

  var random: SeededGenerator
  var server = Server()
  var nodes: [Node]
  var sockets: [Socket] = []
  /// The user of each message.
  var published: [Int] = []
  let bounds: RelayRing.Bounds
  /// Whether lending always works where there is one who can.
  let lendsSurely: Bool
  var complaints: [String] = []
  var gaps = 0
  var delivered = 0

  static let users = 3

  init(seed: UInt64, gateways: Int, bounds: RelayRing.Bounds, lendsSurely: Bool) {
    random = SeededGenerator(state: seed)
    (self.bounds, self.lendsSurely) = (bounds, lendsSurely)
    nodes = (0..<gateways).map { _ in Node(memory: RelayMemory(bounds)) }
  }

  // MARK: Steps

  mutating func step() {
    let node = Int.random(in: nodes.indices, using: &random)
    switch Int.random(in: 0..<1000, using: &random) {
    case ..<250: publish()
    case ..<600: read(node, count: Int.random(in: 1...12, using: &random))
    case ..<680:
      if nodes[node].cursor != nil { publishMark(by: "", seen: nodes[node].memory.highest) }
    case ..<800: connect(node)
    case ..<815: cut(node)
    case ..<822: die(node)
    case ..<829: endGracefully(node)
    case ..<831: restartServer(keepsClock: Bool.random(using: &random))
    case ..<900: attachNew(at: node)
    case ..<960: reattach()
    default: leave()
    }
  }

  /// Everybody is there and has read everything, so that all that is ever delivered has been.
  mutating func settle() {
    for _ in 0..<4 {
      for node in nodes.indices {
        connect(node)
        read(node, count: .max)
      }
    }
    for index in sockets.indices where sockets[index].gateway == nil { attach(index, at: 0) }
    for index in sockets.indices { check(sockets[index], isSettled: true) }
  }

  private mutating func publish() {
    if random.chance(oneIn: 12) {
      server.log.append(.message(-1, user: nil))
    } else {
      let user = Int.random(in: 0..<Self.users, using: &random)
      server.log.append(.message(published.count, user: user))
      published.append(user)
    }
    server.published += 1
  }

  @discardableResult
  private mutating func publishMark(by author: String, seen: Int64) -> RelayMark {
    let time = server.lastMark + Int64.random(in: -2...40, using: &random)
    server.lastMark = max(server.lastMark + 1, max(time, seen + 1))
    let mark = RelayMark(line: server.line, number: server.lastMark)
    server.log.append(
      .mark(
        RelayMemory.HeardMark(
          mark: mark, process: "p\(server.process)", publishedBefore: server.published,
          author: author)))
    server.published += 1
    return mark
  }

  // MARK: Gateways

  private mutating func connect(_ index: Int) {
    guard nodes[index].cursor == nil else { return }
    nodes[index].life += 1
    let author = "g\(index)-\(nodes[index].life)"
    nodes[index].memory.beginLife(process: "p\(server.process)", author: author)
    nodes[index].hasPeers = nodes.contains { $0.cursor != nil }
    nodes[index].cursor = server.log.count
    nodes[index].begun = server.log.count
    nodes[index].firstMark = publishMark(by: author, seen: nodes[index].memory.highest)
    // What an earlier gateway left is read before the own mark.
    if let handover = server.handover, handover.process == server.process {
      nodes[index].memory.unite(handover.ring)
    }
  }

  private mutating func read(_ index: Int, count: Int) {
    var left = count
    while left > 0, let cursor = nodes[index].cursor, cursor < server.log.count {
      left -= 1
      nodes[index].cursor = cursor + 1
      switch server.log[cursor] {
      case .mark(let mark): _ = nodes[index].memory.hear(mark)
      case .talk: nodes[index].memory.hearPublication()
      case .message(let number, let user):
        let message = user.map {
          RelayMessage(user: Self.name($0), job: [], payload: Array("\(number)".utf8))
        }
        let position = nodes[index].memory.hear(message)
        if let user, let position, nodes[index].memory.isReady {
          deliver(number, of: user, at: position, by: index)
        }
      }
    }
    fill(index)
  }

  private mutating func fill(_ index: Int) {
    guard nodes[index].cursor != nil, !nodes[index].memory.isReady,
      nodes[index].memory.position != nil, let first = nodes[index].firstMark
    else { return }
    if nodes[index].hasPeers, lendsSurely || !random.chance(oneIn: 4) {
      // Those who are there and have read so far.
      let others = nodes.indices.filter { $0 != index && nodes[$0].cursor != nil }
      let lenders = others.filter { nodes[$0].cursor ?? 0 > nodes[index].begun }
      if lendsSurely ? lenders.count < others.count : lenders.isEmpty && !others.isEmpty { return }
      for lender in lenders where !isCovered(lender, first, for: index) {
        nodes[index].memory.unite(nodes[lender].memory.ring.before(first))
        server.log.append(.talk)
        server.published += 1
        if lendsSurely { continue }
        break
      }
    }
    becomeReady(index)
  }

  /// Whether a gateway knows already all that another one can lend it.
  private func isCovered(_ lender: Int, _ first: RelayMark, for index: Int) -> Bool {
    guard let chain = nodes[lender].memory.ring.chain(before: first),
      let position = nodes[index].memory.position
    else { return false }
    return RelayAttachment.isWhole(
      since: .position(RelayPosition(chain, 0)), to: position, in: nodes[index].memory.ring)
  }

  private mutating func becomeReady(_ index: Int) {
    nodes[index].memory.becomeReady()
    // Others may have a hole that this one can fill.
    for other in nodes.indices
    where other != index && nodes[other].memory.isReady && (lendsSurely || random.chance(oneIn: 2))
    {
      guard let first = nodes[other].firstMark else { continue }
      nodes[other].memory.unite(nodes[index].memory.ring.before(first))
    }
    // Those that were held go on where they are.
    for socket in sockets.indices where sockets[socket].gateway == index {
      attach(socket, at: index)
    }
  }

  private mutating func cut(_ index: Int) {
    nodes[index].cursor = nil
    nodes[index].memory.endLife()
  }

  private mutating func die(_ index: Int) {
    for socket in sockets.indices where sockets[socket].gateway == index {
      sockets[socket].gateway = nil
    }
    nodes[index] = Node(memory: RelayMemory(bounds), life: nodes[index].life)
  }

  private mutating func endGracefully(_ index: Int) {
    if nodes[index].memory.isReady {
      server.handover = (nodes[index].memory.ring.segments, server.log.count, server.process)
    }
    die(index)
  }

  private mutating func restartServer(keepsClock: Bool) {
    server.process += 1
    server.line = "line\(server.process)"
    if !keepsClock { server.lastMark = 1000 }
    server.published = 0
    server.log = []
    for index in nodes.indices { cut(index) }
  }

  // MARK: Sockets

  private static func name(_ user: Int) -> [UInt8] { Array("\(user)".utf8) }

  private mutating func deliver(
    _ number: Int, of user: Int, at position: RelayPosition, by node: Int
  ) {
    for index in sockets.indices
    where sockets[index].gateway == node && sockets[index].user == user {
      sockets[index].got.append(number)
      delivered += 1
      sockets[index].position = position
    }
  }

  private mutating func attachNew(at node: Int) {
    guard nodes[node].memory.isReady, let position = nodes[node].memory.position else { return }
    // What it gets begins with what its gateway reads next.
    let unread = server.log[(nodes[node].cursor ?? 0)...].count { entry in
      if case .message(_, user: .some) = entry { true } else { false }
    }
    sockets.append(
      Socket(
        user: Int.random(in: 0..<Self.users, using: &random), begun: published.count - unread,
        position: position, gateway: node))
  }

  private mutating func leave() {
    guard let index = sockets.indices.randomElement(using: &random) else { return }
    // It may know how far its gateway is.
    if let node = sockets[index].gateway, nodes[node].memory.isReady, random.chance(oneIn: 3) {
      sockets[index].position = nodes[node].memory.position
    }
    sockets[index].gateway = nil
  }

  private mutating func reattach() {
    let away = sockets.indices.filter { sockets[$0].gateway == nil }
    guard let index = away.randomElement(using: &random) else { return }
    attach(index, at: Int.random(in: nodes.indices, using: &random))
  }

  private mutating func attach(_ index: Int, at node: Int) {
    guard nodes[node].memory.isReady, let end = nodes[node].memory.position else { return }
    guard let since = sockets[index].position else { return }
    sockets[index].gateway = node
    let ring = nodes[node].memory.ring
    let isNewer =
      since.mark.line == end.mark.line
      && (since.mark.number, since.offset) > (end.mark.number, end.offset)
    // A position that this gateway has not heard yet: it reads on until it has.
    if isNewer {
      sockets[index].gateway = nil
      return
    }
    let attachment = RelayAttachment(
      of: Self.name(sockets[index].user), since: .position(since), to: end, in: ring)
    for item in attachment.items {
      switch item {
      case .gap(_, let why):
        gaps += 1
        sockets[index].got.append(why == .reset ? -2 : -1)
      case .message(_, let message):
        delivered += 1
        sockets[index].got.append(Int(String(decoding: message.payload, as: UTF8.self)) ?? -9)
      }
    }
    sockets[index].position = end
    if !attachment.isRecovered, lendsSurely {
      for other in nodes where other.cursor != nil && other.memory.isReady {
        if RelayAttachment.isWhole(since: .position(since), to: end, in: other.memory.ring) {
          complaints.append("a gap from \(since) to \(end), which another gateway has")
        }
      }
    }
    check(sockets[index], isSettled: false)
  }

  // MARK: Judging

  /// Nothing is missing, doubled or out of order that is not told as a gap.
  private mutating func check(_ socket: Socket, isSettled: Bool) {
    var expected = published.indices.dropFirst(socket.begun).filter {
      published[$0] == socket.user
    }[...]
    var last = -1
    for number in socket.got {
      if number < 0 {
        // Anything may be missing here; after a reset, anything may come again.
        if number == -2 { last = -1 }
        expected = []
        continue
      }
      if number <= last {
        complaints.append("\(number) after \(last): \(socket.got)")
        return
      }
      if let first = expected.first, first != number, number >= socket.begun {
        complaints.append("\(number) instead of \(first): \(socket.got)")
        return
      }
      last = number
      expected =
        published.indices.dropFirst(number + 1).filter { published[$0] == socket.user }[...]
    }
    if isSettled, socket.gateway != nil, let missing = expected.first {
      complaints.append("\(missing) is missing at the end: \(socket.got)")
    }
  }
}
