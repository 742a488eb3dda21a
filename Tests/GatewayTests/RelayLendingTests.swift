import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite("What gateways of the relay lend each other")
struct RelayLendingTests {
  private static let line = "line"

  private func mark(_ number: Int) -> RelayMark {
    RelayMark(line: Self.line, number: Int64(number))
  }

  private func message(_ user: Int, size: Int) -> RelayMessage {
    RelayMessage(
      user: Array("\(user)".utf8), job: Array("job".utf8),
      payload: Array(repeating: UInt8(user & 0xFF), count: size))
  }

  /// Segments that follow each other, each with so many messages of a size.
  private func ring(_ segments: [(messages: Int, size: Int)]) -> RelayRing {
    var (ring, user) = (RelayRing(), 0)
    for (index, segment) in segments.enumerated() {
      ring.begin(
        mark(index + 1), after: index > 0 ? mark(index) : nil, publishedBefore: Int64(index))
      for offset in 0..<segment.messages {
        user += 1
        ring.add(
          message(user, size: segment.size), at: RelayPosition(mark(index + 1), offset + 1),
          publications: Int64(offset + 1))
      }
    }
    return ring
  }

  @Test(
    "a loan comes in pieces of at most 1 MiB, which are the whole again, whatever its segments are")
  func loan() throws {
    let lent = ring([
      (3, 10), (0, 0), (40, 100_000), (1, 900_000), (700, 1000), (2, 10), (9, 131_072),
    ])
    .before(mark(99))
    var loan = RelayLoan(lent, now: .now)
    #expect(loan.take(1, now: .now) == nil, "not its turn")
    var borrower = RelayRing()
    var pieces = 0
    while let (bytes, isLast) = loan.take(pieces, now: .now) {
      #expect(bytes.readableBytes <= RelayLoan.maxPiece)
      borrower.unite(try RelaySegments.decode(bytes))
      pieces += 1
      if isLast { break }
    }
    for (mark, segment) in lent {
      #expect(borrower.segments[mark] == segment, "\(mark)")
    }
    #expect(pieces >= 8 && pieces <= 12)
    #expect(loan.take(pieces + 1, now: .now) == nil)
    for user in [1, 3, 4, 43, 44, 743] {
      #expect(borrower.offsets(of: Array("\(user)".utf8)).count == 1)
    }
  }

  @Test("what a segment no longer keeps is said with each piece of it, and by all of them together")
  func droppedInPieces() throws {
    var ring = RelayRing()
    ring.begin(mark(1), after: nil, publishedBefore: nil)
    for offset in 1...160 {
      let message = message(offset % 20 == 0 ? 8 : 7, size: 20_000)
      ring.add(message, at: RelayPosition(mark(1), offset), publications: 0)
    }
    ring.begin(mark(2), after: mark(1), publishedBefore: nil)
    let (lent, user) = (ring.before(mark(2)), Array("7".utf8))
    #expect(lent[mark(1)]?.dropped == [user: 54])
    var loan = RelayLoan(lent, now: .now)
    var pieces: [[RelayMark: RelayRing.Segment]] = []
    while let (bytes, _) = loan.take(pieces.count, now: .now), bytes.readableBytes > 20 {
      pieces.append(try RelaySegments.decode(bytes))
    }
    #expect(pieces.count == 3)
    var borrower = RelayRing()
    for piece in pieces { borrower.unite(piece) }
    #expect(borrower.segments == lent)
    // Where a beginning is lacking, that is told.
    for missing in pieces.indices {
      var other = RelayRing()
      for (index, piece) in pieces.enumerated() where index != missing { other.unite(piece) }
      other.unite([mark(2): RelayRing.Segment()])
      let attachment = RelayAttachment(
        of: user, since: .position(RelayPosition(mark(1), 54)), to: RelayPosition(mark(2), 0),
        in: other)
      #expect(!attachment.isRecovered, "without piece \(missing)")
    }
  }

  @Test("numbers and circles that were made up lead nowhere, and end")
  func madeUp() throws {
    var ring = RelayRing()
    let other = RelayMark(line: "other", number: 3)
    var (first, second) = (RelayRing.Segment(), RelayRing.Segment())
    (first.next, second.next) = (other, mark(5))
    ring.unite([mark(5): first, other: second])
    let attachment = RelayAttachment(
      of: [1], since: .position(RelayPosition(mark(5), 0)), to: RelayPosition(mark(9), 0), in: ring)
    #expect(attachment.items.count < 5)
    var huge = RelayRing.Segment(publishedBefore: .max)
    huge.publications = .max
    let bytes = RelaySegments.encode([mark(1): huge])
    #expect(throws: RelaySegments.Malformed.self) { try RelaySegments.decode(bytes) }
    for number in [Int64.max, 1 << 53, 0, -1] {
      let bytes = RelaySegments.encode([RelayMark(line: "x", number: number): RelayRing.Segment()])
      #expect(throws: RelaySegments.Malformed.self) { try RelaySegments.decode(bytes) }
      let form = try RelayChannel(RelayChannel.usual, clock: "clock")
      #expect(KeptMessage(Array("x \(number) 1 7 JOB:1:xtext".utf8), form) == nil)
    }
  }

  @Test("bytes that anybody may have written are refused, and never believed")
  func malformed() {
    let bytes = Array(
      RelaySegments.encode(ring([(5, 20), (3, 5)]).before(mark(99))).readableBytesView)
    var random = SeededGenerator(state: 22)
    for _ in 0..<5000 {
      var mutated = bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: mutated.indices, using: &random)
        mutated[index] = UInt8.random(in: 0...255, using: &random)
      }
      if random.chance(oneIn: 3) {
        mutated.removeLast(Int.random(in: 0..<mutated.count, using: &random))
      }
      guard let segments = try? RelaySegments.decode(ByteBuffer(bytes: mutated)) else { continue }
      for segment in segments.values {
        #expect(segment.messages.allSatisfy { $0.key <= segment.heard })
      }
      var memory = RelayMemory()
      memory.unite(segments)
      for mark in segments.keys {
        _ = RelayAttachment(
          of: Array("1".utf8), since: .position(RelayPosition(mark, 0)),
          to: RelayPosition(RelayMark(line: Self.line, number: 9), 0), in: memory.ring)
      }
    }
  }

  @Test("what one dropped and the other holds is not dropped, as far as it heard")
  func dropped() {
    var (first, second) = (RelayRing(.init(maxMessagesPerUser: 2)), RelayRing())
    for number in 1...4 {
      if number == 1 {
        first.begin(mark(1), after: nil, publishedBefore: nil)
        second.begin(mark(1), after: nil, publishedBefore: nil)
      }
      let position = RelayPosition(mark(1), number)
      first.add(message(7, size: number), at: position, publications: 0)
      if number < 4 { second.add(message(7, size: number), at: position, publications: 0) }
    }
    #expect(first.segments[mark(1)]?.dropped == [Array("7".utf8): 2])
    second.unite(first.segments)
    #expect(second.segments[mark(1)]?.dropped == [:])
    #expect(second.offsets(of: Array("7".utf8)) == [mark(1): [1, 2, 3, 4]])
    first.unite(second.segments)
    #expect(first.segments[mark(1)]?.dropped == [Array("7".utf8): 2], "its own bound holds")
  }

  // MARK: Who lends

  private struct Asker {
    var filling: RelayFilling
    var now = ContinuousClock.now

    init(others: Int) { filling = RelayFilling(request: "r", others: others, now: now) }

    mutating func hear(_ talk: RelayTalk) -> [RelayFilling.Action] { filling.hear(talk, now: now) }

    mutating func offer(
      _ lender: String, _ size: Int, isWhole: Bool = false, chain: RelayMark? = nil
    ) -> [RelayFilling.Action] {
      hear(.offer(request: "r", lender: lender, size: size, isWhole: isWhole, chain: chain))
    }

    mutating func pass(_ duration: Duration) -> [RelayFilling.Action] {
      now += duration
      return filling.tick(now)
    }

    mutating func piece(_ lender: String, _ number: Int, isLast: Bool) -> [RelayFilling.Action] {
      hear(.piece(request: "r", lender: lender, number: number, isLast: isLast))
    }

    mutating func received(
      isEnough: Bool = false, isKnown: (RelayMark) -> Bool = { _ in false }
    ) -> [RelayFilling.Action] {
      filling.received(now: now, isEnough: isEnough, isKnown: isKnown)
    }
  }

  @Test("the best offer is taken once all have answered, piece after piece")
  func best() {
    var asker = Asker(others: 3)
    #expect(asker.offer("a", 500) == [])
    #expect(asker.offer("b", 100, isWhole: true) == [])
    #expect(asker.hear(.nothing(request: "r", lender: "c")) == [.take(lender: "b", piece: 0)])
    #expect(asker.piece("a", 0, isLast: true) == [], "of another lender")
    #expect(asker.piece("b", 1, isLast: true) == [], "not its turn")
    #expect(asker.piece("b", 0, isLast: false) == [.fetch(lender: "b", piece: 0)])
    #expect(asker.received() == [.take(lender: "b", piece: 1)])
    #expect(asker.piece("b", 1, isLast: false) == [.fetch(lender: "b", piece: 1)])
    #expect(asker.received(isEnough: true) == [.finish])
  }

  @Test("the next offer is taken where one is not enough, but none that lends only what is known")
  func next() {
    var asker = Asker(others: 4)
    _ = asker.offer("a", 500, chain: mark(1))
    _ = asker.offer("b", 400, chain: mark(2))
    _ = asker.offer("c", 300)
    #expect(asker.offer("d", 200, chain: mark(3)) == [.take(lender: "a", piece: 0)])
    _ = asker.piece("a", 0, isLast: true)
    #expect(asker.received { $0 == mark(2) } == [.take(lender: "c", piece: 0)])
    _ = asker.piece("c", 0, isLast: true)
    #expect(asker.received { _ in true } == [.finish])
  }

  @Test("one that does not lend in time, or cannot, is passed over")
  func patience() {
    var asker = Asker(others: 3)
    _ = asker.offer("a", 500)
    #expect(asker.offer("b", 400) == [])
    #expect(asker.pass(.milliseconds(150)) == [])
    #expect(asker.pass(.milliseconds(60)) == [.take(lender: "a", piece: 0)], "others may be dead")
    #expect(asker.pass(.milliseconds(1900)) == [])
    #expect(asker.piece("a", 0, isLast: false) == [.fetch(lender: "a", piece: 0)])
    #expect(asker.pass(.milliseconds(1900)) == [], "there was progress")
    #expect(asker.pass(.milliseconds(200)) == [.take(lender: "b", piece: 0)])
    #expect(asker.hear(.nothing(request: "r", lender: "b")) == [])
    #expect(asker.pass(.seconds(3)) == [.finish])
    var alone = Asker(others: 1)
    #expect(alone.pass(.milliseconds(1900)) == [])
    #expect(alone.pass(.milliseconds(200)) == [.finish])
  }
}
