/// Notes the elements that the reader finds, depth first, and makes a value or a message of them
/// once a reply is complete.
struct ReplyBuilder {
  private struct Element {
    enum Kind: UInt8 { case null, integer, status, error, bytes, array }

    var kind: Kind
    /// An integer, or how many elements an array has.
    var number: Int64 = 0
    var place: ReplyTexts.Place?
  }

  /// More elements than this are not kept memory for.
  private static let mostKept = 4096

  /// Of the reply that is not complete yet.
  private var elements: [Element] = []
  private var texts = ReplyTexts()
  private var pushes: [RedisBatch.Entry] = []

  // MARK: Elements

  mutating func addNull() { elements.append(Element(kind: .null)) }

  mutating func add(_ number: Int64) { elements.append(Element(kind: .integer, number: number)) }

  /// Begins an array; its elements follow.
  mutating func addArray(count: Int) {
    elements.append(Element(kind: .array, number: Int64(count)))
  }

  mutating func addStatus(_ text: some Collection<UInt8>) { add(text, as: .status) }

  mutating func addError(_ text: some Collection<UInt8>) { add(text, as: .error) }

  mutating func addBytes(_ text: some Collection<UInt8>) { add(text, as: .bytes) }

  private mutating func add(_ text: some Collection<UInt8>, as kind: Element.Kind) {
    elements.append(Element(kind: kind, place: texts.add(text)))
  }

  // MARK: Whole replies

  /// Makes a value of the reply, which has to be complete.
  mutating func takeValue() -> RedisValue {
    var rest = elements[...]
    let value = takeValue(&rest)
    endReply()
    // The value holds on to the pieces that it stands in, and to nothing that comes later.
    if pushes.isEmpty { texts.letGo() } else { texts.endPiece() }
    return value
  }

  private func takeValue(_ rest: inout ArraySlice<Element>) -> RedisValue {
    guard let element = rest.popFirst() else { return .null }
    switch element.kind {
    case .null: return .null
    case .integer: return .integer(element.number)
    case .status: return .status(String(decoding: bytes(element), as: UTF8.self))
    case .error: return .error(String(decoding: bytes(element), as: UTF8.self))
    case .bytes: return .bytes(bytes(element))
    case .array:
      let count = min(Int(clamping: element.number), rest.count)
      return .array((0..<count).map { _ in takeValue(&rest) })
    }
  }

  private func bytes(_ element: Element) -> ArraySlice<UInt8> {
    element.place.map { texts[$0] } ?? []
  }

  private mutating func endReply() {
    elements.removeAll(keepingCapacity: elements.count <= Self.mostKept)
  }

  // MARK: Messages

  /// Keeps the reply for ``takePushes()`` where it is one that a subscribed connection sends by
  /// itself; false for the answer to a request.
  mutating func keepPush() -> Bool {
    guard let entry = push else { return false }
    pushes.append(entry)
    endReply()
    return true
  }

  private var push: RedisBatch.Entry? {
    switch elements.count {
    case 3 where isPush("pong"): return .pong
    case 4 where isPush("message"):
      guard let channel = elements[2].place, let payload = elements[3].place else { return nil }
      return .message(channel: channel, pattern: nil, payload: payload)
    case 5 where isPush("pmessage"):
      guard let channel = elements[3].place, let payload = elements[4].place else { return nil }
      return .message(channel: channel, pattern: elements[2].place, payload: payload)
    default: return nil
    }
  }

  /// Whether the reply is one array that begins with a word.
  private func isPush(_ word: StaticString) -> Bool {
    guard elements[0].number == elements.count - 1, let place = elements[1].place else {
      return false
    }
    return texts.holds(word, at: place)
  }

  var pushCount: Int { pushes.count }

  /// Hands out what has been kept.
  mutating func takePushes() -> RedisBatch {
    let taken = texts.take()
    // What is there of an incomplete reply stays here.
    for index in elements.indices {
      if let place = elements[index].place { elements[index].place = texts.add(taken[place]) }
    }
    defer { pushes = [] }
    return RedisBatch(texts: taken, entries: pushes)
  }
}
