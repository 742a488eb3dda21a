import NIOHTTP1
import Presence
import Views

/// An array of JSON that grows line by line.
struct JSONArray {
  private var bytes: [UInt8] = [UInt8(ascii: "[")]
  private var isEmpty = true

  init() {}

  /// Adds an object.
  ///
  /// - Parameter line: adds it as a line.
  mutating func add(_ line: (inout [UInt8]) -> Void) {
    if !isEmpty { bytes.append(UInt8(ascii: ",")) }
    isEmpty = false
    line(&bytes)
    // The line's end stands behind the comma's place.
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
  }

  /// What has come together since the last time.
  mutating func takeBytes() -> [UInt8] {
    defer { bytes.removeAll(keepingCapacity: true) }
    return bytes
  }

  /// The rest with the closing bracket.
  mutating func end() -> [UInt8] { takeBytes() + Array("]\n".utf8) }

  static func of<Item>(
    _ items: some Sequence<Item>, _ add: (Item, inout [UInt8]) -> Void
  ) -> [UInt8] {
    var array = JSONArray()
    for item in items { array.add { add(item, &$0) } }
    return array.end()
  }
}

/// What of the history was asked for.
enum HistoryQuery {
  struct Problem: Error {
    var text: String
    var remedy: String
  }

  static func read(_ query: Query) throws(Problem) -> (WatchFilter, Watcher.Since) {
    var types: Set<EventType>?
    let texts = query.all("only")
    if !texts.isEmpty {
      let text = texts.joined(separator: ",")
      let words = text.split(separator: ",", omittingEmptySubsequences: false)
      let known = words.compactMap { EventType(rawValue: String($0)) }
      guard known.count == words.count else {
        throw Problem(
          text: "there is no event type '\(text)'",
          remedy: "use \(EventType.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      types = Set(known)
    }
    return (
      WatchFilter(types: types, name: query["name"]), try since(query["since"]) ?? .beginning
    )
  }

  private static func since(_ text: String?) throws(Problem) -> Watcher.Since? {
    guard let text else { return nil }
    if text == "all" { return .beginning }
    guard let duration = Duration(typed: text) else {
      throw Problem(
        text: "'\(text)' is not a duration", remedy: "write it as 500ms, 15s, 2m, 1h, 3d or all")
    }
    return .ago(duration)
  }

  /// Where a stream begins: behind the event that the client saw last.
  static func start(_ request: Request) throws(Problem) -> EventStreams.Start {
    // A browser that comes back sends this, and in the address what the page was made at.
    // Behind what is none the client cannot be, so it gets all there is behind a reset.
    if let last = request.only("last-event-id"), !last.isEmpty {
      return .after(position(last) ?? Position(epoch: 1, seq: 0))
    }
    if let after = request.query["after"] {
      guard let position = position(after) else {
        throw Problem(
          text: "'\(after)' is not the id of an event", remedy: "use the id of one, as EPOCH-SEQ")
      }
      return .after(position)
    }
    return try since(request.query["since"]).map { .since($0) } ?? .now
  }

  private static func position(_ text: String) -> Position? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, let epoch = Int64(parts[0]), let seq = Int64(parts[1]),
      (1...9_000_000_000_000_000).contains(epoch), (0...9_000_000_000_000_000).contains(seq)
    else { return nil }
    return Position(epoch: epoch, seq: seq)
  }
}
