import Testing

@testable import PaasbusRedis

@Suite("Codec")
struct RedisCodecTests {
  private func decode(
    _ bytes: [UInt8], pieces: Int = .max, limit: Int = 1 << 20
  ) throws -> [RedisValue] {
    let codec = RedisCodec(sizeLimit: limit)
    var replies: [RedisValue] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(pieces))
      rest = rest.dropFirst(pieces)
      try part.withUnsafeBytes { try codec.decode($0) { replies.append($0) } }
    }
    return replies
  }

  private static let mixed = Array(
    "+OK\r\n:42\r\n$5\r\nhello\r\n$-1\r\n*0\r\n*-1\r\n*2\r\n*1\r\n:1\r\n$0\r\n\r\n-ERR no\r\n".utf8)

  private static let values: [RedisValue] = [
    .status("OK"), .integer(42), .bytes(Array("hello".utf8)[...]), .null, .array([]), .null,
    .array([.array([.integer(1)]), .bytes([])]), .error("ERR no"),
  ]

  @Test("all kinds of replies, in one piece and in pieces of any size", arguments: 1...12)
  func kinds(pieces: Int) throws {
    #expect(try decode(Self.mixed) == Self.values)
    #expect(try decode(Self.mixed, pieces: pieces) == Self.values)
  }

  private static func array(_ words: String...) -> String {
    "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
  }

  @Test(
    "messages are kept apart from answers, however they are cut",
    arguments: [1, 2, 3, 7, 50, 4096, 65_536, 1_000_000])
  func messages(pieces: Int) throws {
    let long = String(repeating: "x", count: 70_000)
    let texts = ["a", "", long, "é\"", "$5\r\n"] + (0..<3000).map { "number \($0)" }
    var bytes: [UInt8] = []
    for text in texts { bytes += Self.array("message", "one", text).utf8 }
    bytes += ":7\r\n\(Self.array("pmessage", "t*", "two", "p"))\(Self.array("pong", ""))".utf8
    // Nonsense, but no answers.
    bytes +=
      "\(Self.array("message", "too", "many", "words"))*3\r\n$7\r\nmessage\r\n$-1\r\n*0\r\n".utf8
    let codec = RedisCodec(sizeLimit: 1 << 20)
    codec.keepsPushes = true
    var (batch, replies) = (RedisBatch(), [RedisValue]())
    for start in stride(from: 0, to: bytes.count, by: pieces) {
      try Array(bytes[start...].prefix(pieces)).withUnsafeBytes {
        try codec.decode($0) { replies.append($0) }
      }
      if let more = codec.takePushes() { batch.append(more) }
    }
    let payloads = batch.compactMap(\.payload).map { String(decoding: $0, as: UTF8.self) }
    #expect(payloads == texts + ["p"])
    guard batch.count == texts.count + 2, case .message(let first) = batch[0],
      case .message(let last) = batch[batch.count - 2]
    else {
      Issue.record("\(batch.count) came")
      return
    }
    #expect(first.channel == Array("one".utf8)[...] && first.pattern == nil)
    #expect(last.channel == Array("two".utf8)[...] && last.pattern == Array("t*".utf8)[...])
    #expect(batch.last == .pong)
    #expect(replies == [.integer(7)])
  }

  @Test("many replies in one read")
  func many() throws {
    let bytes = (0..<10_000).flatMap { Array(":\($0)\r\n".utf8) }
    #expect(try decode(bytes) == (0..<10_000).map { .integer($0) })
  }

  @Test(
    "what is no RESP2 is an error",
    arguments: [
      "HTTP/1.1 400 Bad Request\r\n", "\r\n", "%1\r\n", "*x\r\n", "$x\r\n", ":12a\r\n",
      "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ])
  func nonsense(text: String) {
    let error = #expect(throws: RedisError.self) { try decode(Array(text.utf8)) }
    #expect(error?.kind == .protocolViolation)
  }

  @Test(
    "a reply beyond the limit is an error, however it is made up",
    arguments: [
      "$9223372036854775807\r\n", "$5000000\r\n", "*1000000000\r\n", "*3\r\n$5000000\r\n",
    ])
  func tooLarge(header: String) {
    let bytes = Array(header.utf8) + Array(repeating: UInt8(ascii: "x"), count: 2_000_000)
    let error = #expect(throws: RedisError.self) { try decode(bytes) }
    #expect(error?.kind == .protocolViolation)
  }

  @Test("random bytes never crash it")
  func fuzz() {
    var state: UInt64 = 11
    for _ in 0..<3000 {
      var bytes = Self.mixed
      for _ in 0..<4 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        bytes[Int(state >> 33) % bytes.count] = UInt8(truncatingIfNeeded: state >> 20)
      }
      _ = try? decode(bytes, pieces: 3)
    }
  }
}
