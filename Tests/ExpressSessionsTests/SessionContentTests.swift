import Testing

@testable import ExpressSessions

@Suite("What a session holds")
struct SessionContentTests {
  private func content(_ members: String) throws -> SessionContent {
    try SessionContent(Array(#"{"cookie":{"path":"/"},\#(members)}"#.utf8))
  }

  private func user(_ members: String, _ paths: UserPaths = .usual) throws -> String? {
    try content(members).user(at: paths)?.text
  }

  @Test(
    "the user is found where apps keep it",
    arguments: [
      (#""user":{"id":"42"}"#, "42"), (#""user":{"id":42}"#, "42"),

      (#""passport":{"user":7}"#, "7"), (#""passport":{"user":{"id":"p"}}"#, "p"),
      (#""userId":-5"#, "-5"), (#""userId":0"#, "0"), (#""user":{"name":"Z"},"userId":9"#, "9"),
      (#""user":null,"userId":9"#, "9"), (#""user":{"id":null},"userId":9"#, "9"),
      (#""passport":{},"userId":9"#, "9"), (#""passport":{}"#, nil), (#""views":3"#, nil),
      // Names may be written with escapes, and of members with one name the last counts.
      (#""us\u0065r":{"i\u0064":"42"}"#, "42"), (#""user":{"id":1,"id":2}"#, "2"),
      (#""user":{"id":1},"user":{"id":2}"#, "2"), (#""user":{"id":1},"user":null"#, nil),
      (#""userId":"042""#, "042"), (#""userId":" 42""#, " 42"),
      (#""userId":9007199254740992"#, "9007199254740992"), (#""userId":"ü*?[1]""#, "ü*?[1]"),
      (#""userId":"\ud83d\udd11""#, "🔑"), (#""userId":"z\u00e9""#, "zé"), (#""user":"42""#, nil),
    ] as [(String, String?)])
  func found(_ members: String, _ expected: String?) throws {
    #expect(try user(members) == expected)
  }

  @Test(
    "what is no id means that it is nobody, whatever comes later",
    arguments: [
      "\"\"", "true", "1e3", "1.0", "-0", "{}", "[1]", #""a\u0000b""#, #""\n""#, #""\u007f""#,
      #""\u0085""#, #""\ud800""#, #""\udc00x""#, "9007199254740993", "-9007199254740993",
      "99999999999999999999", "1E0", "\"\(String(repeating: "x", count: 257))\"",
      "\"\(String(repeating: "é", count: 129))\"",
    ])
  func nobody(_ value: String) throws {
    #expect(try user("\"user\":{\"id\":\(value)},\"userId\":9") == nil)
    #expect(try user("\"passport\":{\"user\":{\"id\":\(value)}},\"userId\":9") == nil)
  }

  @Test("users are compared byte for byte")
  func bytes() throws {
    let paths = UserPaths.usual
    let composed = try content(#""userId":"\u00e9""#).user(at: paths)
    let decomposed = try content(#""userId":"e\u0301""#).user(at: paths)
    #expect(composed?.id == [0xC3, 0xA9] && decomposed?.id == [0x65, 0xCC, 0x81])
    let joined = try content("\"userId\":\"a:\u{200D}b\"").user(at: paths)
    #expect(joined?.id == Array("a:\u{200D}b".utf8))
  }

  @Test("other paths can be named, but not one that leads beyond an object's own members")
  func paths() throws {
    let account = try #require(UserPaths("account.owner.id"))
    #expect(try user(#""account":{"owner":{"id":"z"}},"user":1"#, account) == "z")
    #expect(try user(#""user":1"#, account) == nil)
    for text in [
      "", ",", "a..b", ".a", "a.", "a,", "__proto__", "user.__proto__.id", "a,__proto__",
    ] {
      #expect(UserPaths(text) == nil, "\(text)")
    }
    // Not even where the JSON has a member of that name.
    let length = try #require(UserPaths("user.length"))
    #expect(try user(#""user":"abc""#, length) == nil)
    #expect(try user(#""user":[1,2]"#, length) == nil)
    #expect(try user(#""__proto__":{"userId":"evil"}"#) == nil)
    #expect(try user(#""user":{"id":"z"}"#, #require(UserPaths("userId, user.id "))) == "z")
  }

  @Test(
    "what Express would not take for a session is refused",
    arguments: [
      ("", .notJSON), ("x", .notJSON), ("{", .notJSON), ("{\"cookie\":{}", .notJSON),
      ("{\"cookie\":{}}x", .notJSON), ("\u{FEFF}{\"cookie\":{}}", .notJSON),
      ("{'cookie':{}}", .notJSON), ("{\"cookie\":{},}", .notJSON),
      ("{\"cookie\":{} \"a\":1}", .notJSON),
      ("{\"cookie\":{},\"a\":01}", .notJSON), ("{\"cookie\":{},\"a\":+1}", .notJSON),
      ("{\"cookie\":{},\"a\":.5}", .notJSON), ("{\"cookie\":{},\"a\":1.}", .notJSON),
      ("{\"cookie\":{},\"a\":NaN}", .notJSON), ("{\"cookie\":{},\"a\":\"\t\"}", .notJSON),
      ("{\"cookie\":{},\"a\":\"\\x\"}", .notJSON), ("{\"cookie\":{},\"a\":\"\\u12g4\"}", .notJSON),
      ("{\"cookie\":{},\"a\":tru}", .notJSON), ("{\"cookie\":{}}\u{0}", .notJSON),
      ("{}", .noCookie), ("[]", .noCookie), ("null", .noCookie), ("\"cookie\"", .noCookie),
      ("{\"cookie\":null}", .noCookie), ("{\"cookie\":1}", .noCookie),
      ("{\"cookie\":[]}", .noCookie),
      ("{\"cookie\":{},\"cookie\":null}", .noCookie), ("{\"user\":{\"cookie\":{}}}", .noCookie),
    ] as [(String, SessionContent.Fault)])
  func refused(_ text: String, _ fault: SessionContent.Fault) {
    #expect(throws: fault) { try SessionContent(Array(text.utf8)) }
  }

  @Test("size and depth are limited, and bytes that are not UTF-8 are nobody's")
  func limits() throws {
    func nested(_ depth: Int) -> [UInt8] {
      let (begin, end) = (
        String(repeating: "[", count: depth), String(repeating: "]", count: depth)
      )
      return Array("{\"cookie\":{},\"a\":\(begin)\(end)}".utf8)
    }
    _ = try SessionContent(nested(63))
    #expect(throws: SessionContent.Fault.tooDeep) { try SessionContent(nested(64)) }
    #expect(throws: SessionContent.Fault.tooDeep) { try SessionContent(nested(10_000)) }
    func sized(_ size: Int) -> [UInt8] {
      let front = "{\"cookie\":{},\"a\":\""
      return Array("\(front)\(String(repeating: "x", count: size - front.utf8.count - 2))\"}".utf8)
    }
    _ = try SessionContent(sized(262_144))
    #expect(throws: SessionContent.Fault.tooLarge) { try SessionContent(sized(262_145)) }
    for bytes in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE9]] as [[UInt8]] {
      let text = Array("{\"cookie\":{},\"user\":\"a".utf8) + bytes + Array("\"}".utf8)
      #expect(throws: SessionContent.Fault.notJSON) { try SessionContent(text) }
    }
  }

  @Test("an extended session differs in two members, and in nothing else, to the byte")
  func extended() throws {
    func extended(_ text: String) throws -> String {
      String(
        decoding: try SessionContent(Array(text.utf8)).extended(
          to: 3_600_000, now: 1_700_000_000_123
        )
        .bytes, as: UTF8.self)
    }
    let expires = #""2023-11-14T23:13:20.123Z""#
    #expect(
      try extended(
        #" {"a" : 1e3 ,"cookie":{"originalMaxAge":null, "expires" :null,"path":"/"},"b":"\u0041"} "#
      )
        == #" {"a" : 1e3 ,"cookie":{"originalMaxAge":3600000, "expires" :\#(expires),"path":"/"},"b":"\u0041"} "#
    )
    #expect(
      try extended(#"{"cookie":{}}"#)
        == #"{"cookie":{"originalMaxAge":3600000,"expires":\#(expires)}}"#)
    #expect(
      try extended(
        #"{"cookie":{"expires":1,"expires":2},"cookie":{"x":[],"expires":3,"expires":4}}"#)
        == #"{"cookie":{"expires":1,"expires":2},"cookie":{"x":[],"expires":3,"expires":\#(expires),"originalMaxAge":3600000}}"#
    )
    #expect(try SessionContent(Array(#"{"cookie":{"originalMaxAge":1.5e3}}"#.utf8)).maxAge == 1500)
    for age in ["null", "\"1\"", "1e300", "-1e400"] {
      #expect(
        try SessionContent(Array("{\"cookie\":{\"originalMaxAge\":\(age)}}".utf8)).maxAge == nil)
    }
  }

  @Test(
    "a user that is given alone is put where the app looks for it",
    arguments: [
      (#"{"user":{"id":"42"}}"#, #"{"user":{"id":"42"}}"#, "user.id"),
      (#"{"id":42}"#, #"{"user":{"id":42}}"#, "user.id"), ("42", #"{"user":{"id":42}}"#, "user.id"),
      (#""z""#, #"{"user":{"id":"z"}}"#, "user.id"),
      (#"{"passport":{"user":1}}"#, #"{"passport":{"user":1}}"#, "passport.user"),
      (#" {"userId":1,"a":[1]} "#, #"{"userId":1,"a":[1]}"#, "userId"),
    ])
  func filled(_ given: String, _ expected: String, _ path: String) throws {
    let filled = try #require(try UserPaths.usual.members(for: Array(given.utf8)))
    #expect(String(decoding: filled.json, as: UTF8.self) == expected)
    #expect(filled.user.path == path)
  }

  @Test("what names no user is refused, and so is a cookie")
  func unfilled() throws {
    for given in ["null", "true", "1.5", "[]", "{}", #"{"name":"Z"}"#, #""""#, #"{"user":{}}"#] {
      #expect(try UserPaths.usual.members(for: Array(given.utf8)) == nil, "\(given)")
    }
    for name in ["cookie", "paasbus"] {
      #expect(throws: UserPaths.Fault.reserved(name)) {
        try UserPaths.usual.members(for: Array(#"{"user":{"id":1},"\#(name)":{}}"#.utf8))
      }
      #expect(throws: UserPaths.Fault.reserved(name)) {
        try UserPaths("\(name).id")?.members(for: Array("1".utf8))
      }
    }
    #expect(throws: UserPaths.Fault.content(.notJSON)) {
      try UserPaths.usual.members(for: Array("{".utf8))
    }
  }
}
