import TestSupport
import Testing

@testable import ExpressSessions

/// JavaScript's own reading of JSON is the truth: what an app sees in a session is what we have to see.
@Suite("Sessions as JavaScript reads them")
struct JavaScriptTests {
  private static let hasNode = (try? ManagedProcess("node", ["--version"]).hasSucceeded) ?? false

  /// Reads texts in hexadecimal, one a line, and says of each what an app would see.
  private static let script = #"""
    const paths = [['user','id'],['passport','user','id'],['passport','user'],['userId']]
    const user = object => {
      for (const path of paths) {
        let value = object
        for (const name of path) {
          const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
          value = isObject && Object.hasOwn(value, name) ? value[name] : undefined
        }
        if (value !== undefined && value !== null) return value
      }
    }
    const say = text => {
      let object
      try { object = JSON.parse(text) } catch { return 'bad' }
      const cookie = object && object.cookie
      if (Array.isArray(object) || typeof cookie !== 'object' || !cookie || Array.isArray(cookie)) return 'bad'
      const value = user(object)
      if (typeof value === 'number') return Number.isInteger(value) ? 'number ' + value : 'nobody'
      if (typeof value !== 'string' || !value || !value.isWellFormed() || /\p{Cc}/u.test(value)) return 'nobody'
      return 'text ' + Buffer.from(value).toString('hex')
    }
    const lines = require('fs').readFileSync(0, 'latin1').trimEnd().split('\n')
    for (const line of lines) console.log(say(Buffer.from(line, 'hex').toString('utf8')))
    """#

  private static let seeds = [
    #"{"cookie":{"originalMaxAge":null,"path":"/"},"user":{"id":"42","name":"Z"}}"#,
    #"{"cookie":{},"passport":{"user":{"id":-7}},"userId":"\u00e9\ud83d\udd11"}"#,
    #" { "a" : [ 1 , {"b":[true,false,null]} , -0.5e+3 ] , "cookie" : {"x":"\"\\\/\b\f\n\r\t"} , "userId" : 9 } "#,
    #"{"cookie":{},"user":"zoë","user":null,"us\u0065rId":12}"#,
    #"{"__proto__":{"userId":1},"cookie":{"__proto__":null},"constructor":1,"userId":0}"#,
  ]
  private static let pieces = [
    "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00", "\\ud800", "0", "-", "1.0", "e5", "null",
    "true", " ",
    "\t", "\n", "\u{0}", "\u{A0}", "\u{FEFF}", "é", "\"user\":", "\"id\":", "\"userId\":3",
    "\"passport\":",
    "\"cookie\":{}", "9007199254740992", "00", "+1", "//", "'",
  ]

  private static func mutated(_ random: inout SeededGenerator) -> String {
    var scalars = Array((seeds.randomElement(using: &random) ?? "").unicodeScalars)
    for _ in 0..<Int.random(in: 0...3, using: &random) {
      let position = Int.random(in: 0...scalars.count, using: &random)
      let end = min(scalars.count, position + Int.random(in: 0...3, using: &random))
      let piece = Bool.random(using: &random) ? pieces.randomElement(using: &random) ?? "" : ""
      scalars.replaceSubrange(position..<end, with: piece.unicodeScalars)
    }
    return String(String.UnicodeScalarView(scalars))
  }

  @Test("mutated sessions are read as JavaScript reads them", .enabled(if: hasNode, "no node here"))
  func oracle() async throws {
    var random = SeededGenerator(state: .random(in: 1...1_000_000))
    let texts = (0..<20_000).map { _ in Self.mutated(&random) }
    let lines = texts.map { text in
      text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
    let node = try ManagedProcess(
      "node", ["-e", Self.script], input: Array(lines.joined(separator: "\n").utf8))
    #expect(try await node.exitStatus() == 0, "\(node.errorOutput)")
    let answers = node.output.split(separator: "\n").map(String.init)
    try #require(answers.count == texts.count)
    for (text, answer) in zip(texts, answers) {
      let content = try? SessionContent(Array(text.utf8))
      guard let content else {
        #expect(answer == "bad", "\(text)")
        continue
      }
      switch content.user(at: .usual) {
      case nil:
        // A number that is written in another way than an id.
        #expect(answer == "nobody" || answer.hasPrefix("number "), "\(text): \(answer)")
      case let user?:
        let hex = user.id.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(answer == "text \(hex)" || answer == "number \(user.text)", "\(text): \(answer)")
      }
    }
    #expect(answers.contains("bad") && answers.contains { $0.hasPrefix("text ") })
  }
}
