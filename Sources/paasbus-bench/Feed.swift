import Foundation
import Synchronization

/// A server of RESP that answers what a watcher asks and then sends events as fast as they are taken,
/// which a Redis, that has to do something for each, cannot.
final class Feed: Sendable {
  private static let epoch = 1_767_646_800_000

  let link: Link
  private let listener: Int32

  init(at link: Link, count: Int) throws {
    self.link = link
    listener = try link.listen()
    signal(SIGPIPE, SIG_IGN)
    let events = Self.events(count)
    let (sent, descriptor) = (Sent(), listener)
    Thread.detachNewThread {
      while true {
        let client = accept(descriptor, nil, nil)
        guard client >= 0 else { return }
        Thread.detachNewThread { Self.serve(client, events, sent) }
      }
    }
  }

  func close() {
    shutdown(listener, Int32(SHUT_RDWR))
    Foundation.close(listener)
  }

  /// How many events have been sent, which a watcher compares itself with.
  private final class Sent: Sendable {
    let count = Atomic(0)
  }

  /// All messages, in pieces, with the number of the last in each.
  private static func events(_ count: Int) -> [(bytes: [UInt8], last: Int)] {
    let piece = 500
    return stride(from: 1, through: count, by: piece).map { first in
      var bytes: [UInt8] = []
      let last = min(first + piece - 1, count)
      for seq in first...last {
        let event = event(seq)
        bytes +=
          "*3\r\n$7\r\nmessage\r\n$9\r\ninstances\r\n$\(event.utf8.count)\r\n\(event)\r\n".utf8
      }
      return (bytes, last)
    }
  }

  private static func event(_ seq: Int) -> String {
    let isStart = seq % 2 == 1
    return
      #"{"v":1,"type":"\#(isStart ? "start" : "stop")","epoch":\#(epoch),"seq":\#(seq),"#
      + #""at":\#(epoch + seq),"app":"default","#
      + #""id":"01KE8H0A00\#(1_000_000_000_000_000 + (seq + 1) / 2)","#
      + #""name":"web.\#(seq % 50)","host":"b7c1","pid":4,"platform":"heroku","release":"v42","#
      + #""region":"eu","started":\#(epoch),"lease":15000\#(isStart ? "" : #","reason":"SIGTERM""#)}"#
  }

  /// The history that was sent so far, from a place on: whoever falls far behind what it has heard of
  /// asks for it.
  private static func history(from lower: String, count: Int, _ sent: Int) -> String {
    let start = lower.split(separator: "-").last.flatMap { Int($0) } ?? 1
    let last = min(sent, start + count - 1)
    guard start >= 1, start <= last else { return "*0\r\n" }
    let entries = (start...last).map { seq in
      let (id, event) = ("\(epoch)-\(seq)", event(seq))
      return "*2\r\n$\(id.utf8.count)\r\n\(id)\r\n"
        + "*2\r\n$5\r\nevent\r\n$\(event.utf8.count)\r\n\(event)\r\n"
    }
    return "*\(entries.count)\r\n\(entries.joined())"
  }

  private static func serve(
    _ client: Int32, _ events: [(bytes: [UInt8], last: Int)], _ sent: Sent
  ) {
    defer { Foundation.close(client) }
    var buffer = [UInt8](repeating: 0, count: 65_536)
    var isQueueing = false
    while true {
      let got = read(client, &buffer, buffer.count)
      guard got > 0 else { return }
      // Whoever asks writes whole commands in one go.
      for words in commands(String(decoding: buffer[..<got], as: UTF8.self)) {
        let name = words[0].uppercased()
        if name == "SUBSCRIBE" {
          sent.count.store(0, ordering: .relaxed)
          guard write(client, Array("*3\r\n$9\r\nsubscribe\r\n$9\r\ninstances\r\n:1\r\n".utf8))
          else {
            return
          }
          for piece in events {
            sent.count.store(piece.last, ordering: .relaxed)
            guard write(client, piece.bytes), answerPing(client, &buffer) else { return }
          }
          continue
        }
        var reply = reply(name, words, sent.count.load(ordering: .relaxed))
        if name == "MULTI" {
          isQueueing = true
        } else if name == "EXEC" {
          isQueueing = false
        } else if isQueueing {
          reply = "+QUEUED\r\n"
        }
        guard write(client, Array(reply.utf8)) else { return }
      }
    }
  }

  /// A ping among the events is answered in its place.
  private static func answerPing(_ client: Int32, _ buffer: inout [UInt8]) -> Bool {
    let got = recv(client, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    guard got > 0 else { return got < 0 && errno == EAGAIN }
    let pings = commands(String(decoding: buffer[..<got], as: UTF8.self)).count
    return write(client, Array(String(repeating: reply("PING", [], 0), count: pings).utf8))
  }

  private static func commands(_ text: String) -> [[String]] {
    var lines = text.components(separatedBy: "\r\n")[...]
    var commands: [[String]] = []
    while let head = lines.popFirst(), head.hasPrefix("*"), let count = Int(head.dropFirst()) {
      var words: [String] = []
      for _ in 0..<count {
        lines = lines.dropFirst()
        words.append(lines.popFirst() ?? "")
      }
      if !words.isEmpty { commands.append(words) }
    }
    return commands
  }

  private static func reply(_ name: String, _ words: [String], _ sent: Int) -> String {
    let time = "*2\r\n$10\r\n1767646900\r\n$1\r\n0\r\n"
    func bus(_ seq: Int) -> String {
      let (epoch, number) = ("\(epoch)", "\(seq)")
      return
        "*3\r\n$\(epoch.count)\r\n\(epoch)\r\n$\(number.count)\r\n\(number)\r\n$9\r\ninstances\r\n"
    }
    switch name {
    case "TIME": return time
    case "HMGET": return bus(sent)
    case "EXEC": return "*5\r\n\(time)\(bus(0))*0\r\n*0\r\n*0\r\n"
    case "EXISTS", "ZADD": return ":0\r\n"
    case "PING": return "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    case "CLUSTER": return "-ERR This instance has cluster support disabled\r\n"
    case "CLIENT": return words.count > 1 && words[1] == "LIST" ? "$0\r\n\r\n" : "+OK\r\n"
    case "XRANGE" where words.count > 5:
      return history(from: words[2], count: Int(words[5]) ?? 0, sent)
    case "ZRANGE", "ZRANGEBYSCORE", "XRANGE", "XREVRANGE": return "*0\r\n"
    default: return "+OK\r\n"
    }
  }

  private static func write(_ client: Int32, _ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(client, $0.baseAddress, $0.count) }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }
}
