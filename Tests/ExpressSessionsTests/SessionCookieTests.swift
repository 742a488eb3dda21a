import Testing

@testable import ExpressSessions

/// Made by express-session 1.19.0; the eighth by Express 3.
@Suite("Cookies of sessions")
struct SessionCookieTests {
  struct Vector: Sendable {
    var secrets: [String]
    var id: String
    var cookie: String
    var signer = 0
  }

  static let vectors = [
    Vector(
      secrets: ["keyboard cat"], id: "VbH9u_-0Kc3xTqQ1s8mZ7yPpLw2dNe4R",
      cookie:
        "s%3AVbH9u_-0Kc3xTqQ1s8mZ7yPpLw2dNe4R.enCHhIqBs6PknlJkQuKX4UnHz9khr2eHzKOFGpZf4bw"),
    Vector(
      secrets: ["pässwörd 🔑"], id: "abc",
      cookie: "s%3Aabc.mDS3ttoqkKx3mQ1SP2%2F611GUYYg9Al9v1jp0HoxgcX4"),
    Vector(
      secrets: ["keyboard cat"], id: "a.b.c",
      cookie: "s%3Aa.b.c.G8ReS2HiYVtvMBGFvZUGp5RaCauWFLUTjnnTm%2FEQ2aE"),
    Vector(
      secrets: ["keyboard cat"], id: "zoë/東京 +=;%41",
      cookie: "s%3Azo%C3%AB%2F%E6%9D%B1%E4%BA%AC%20%2B%3D%3B%2541"
        + ".V0oGux%2B%2FyL%2BADa%2BzrdjBOytFeLvrh3YTpH58eiQtwio"),
    Vector(
      secrets: [" \t\"\\,;\n"], id: "-_-",
      cookie: "s%3A-_-.KToLKJLQRGiE1WXu27th%2BJ69wPuxOUL77P07gnjtNv8"),
    Vector(
      secrets: ["new", "old"], id: "rot1",
      cookie: "s%3Arot1.K1zLvjYCRMTMWmXI6nfSzv5jODUtNGn%2Fkev%2FB7R2IG0"),
    Vector(
      secrets: ["0"], id: "s:abc",
      cookie: "s%3As%3Aabc.hoMbpKpM0ZF9iaMD9TWfinYFU9ORwj%2Bz2N4PK266M3g"),
    Vector(
      secrets: ["keyboard cat"], id: "_gfVZOfVpT5X6cyMtNqtirD7",
      cookie: "s%3A_gfVZOfVpT5X6cyMtNqtirD7.Z844j6bpIl0ln7vilCACcneXhO8CWnjmIufIOe7bCc4"),
    Vector(
      secrets: ["new", "old"], id: "abc",
      cookie: "s%3Aabc.BUBtJoecrDl%2BdBJJqC0EoSVp%2B2PCx7CzPPd7nSJ%2FnH4", signer: 1),
  ]

  @Test("the real middleware's cookies are read, and ours are the same", arguments: vectors)
  func vector(_ vector: Vector) throws {
    let secrets = try #require(SessionSecrets(vector.secrets))
    let verified = try #require(secrets.verify(vector.cookie))
    #expect(verified.id == SessionID(vector.id))
    #expect(verified.secret == vector.signer)
    if vector.signer == 0 { #expect(secrets.cookie(for: SessionID(vector.id)) == vector.cookie) }
    // Another secret verifies none of them.
    #expect(SessionSecrets(["other"])?.verify(vector.cookie) == nil)
  }

  private static let signature = "mDS3ttoqkKx3mQ1SP2/611GUYYg9Al9v1jp0HoxgcX4"
  private static let secrets = SessionSecrets(["pässwörd 🔑"])

  @Test(
    "forms that Express accepts are accepted",
    arguments: [
      "s:abc.\(signature)", "s%3aabc.\(signature)",
      "s:abc.mDS3ttoqkKx3mQ1SP2%2f611GUYYg9Al9v1jp0HoxgcX4", "%73%3A%61bc.\(signature)",
    ])
  func accepted(_ cookie: String) {
    #expect(Self.secrets?.verify(cookie)?.id == SessionID("abc"))
  }

  @Test(
    "forms that Express refuses are refused, and unsigned ones",
    arguments: [
      "s%3Aabc.mDS3ttoqkKx3mQ1SP2%2F611GUYYg9Al9v1jp0HoxgcX4%3D", "s:abc.\(signature)=",
      "s:abc.mDS3ttoqkKx3mQ1SP2_611GUYYg9Al9v1jp0HoxgcX4",
      "s:abc.mDS3ttoqkKx3mQ1SP2/611GUYYg9Al9v1jp0HoxgcX", "s:abc.\(signature)A",
      // The same bytes in base64, with other bits left over.
      "s:abc.mDS3ttoqkKx3mQ1SP2/611GUYYg9Al9v1jp0HoxgcX5",
      "s%253Aabc.\(signature)", "s%3Aabc.\(signature)%", "s%3Aabc.\(signature)%zz", "s%3Aabc%",
      "S:abc.\(signature)", "abc.\(signature)", "abc", "s:abc", "s:abc.", "s:.\(signature)", "s:",
      "", "s", ".", "s:.", "j:abc.\(signature)", " s:abc.\(signature)", "s:ABC.\(signature)",
    ])
  func refused(_ cookie: String) {
    #expect(Self.secrets?.verify(cookie) == nil)
  }

  @Test("an empty id is refused, whoever signed it, and so is an empty secret")
  func empty() throws {
    let secrets = try #require(SessionSecrets(["a"]))
    #expect(secrets.verify(secrets.cookie(for: SessionID(""))) == nil)
    #expect(SessionSecrets([]) == nil)
    #expect(SessionSecrets([""]) == nil)
    #expect(SessionSecrets(["a", ""]) == nil)
  }

  @Test("ids are compared byte for byte")
  func bytes() throws {
    let secrets = try #require(SessionSecrets(["a"]))
    let (composed, decomposed) = (SessionID("\u{E9}"), SessionID("e\u{301}"))
    #expect(composed != decomposed)
    #expect(secrets.cookie(for: composed) != secrets.cookie(for: decomposed))
    #expect(secrets.verify(secrets.cookie(for: decomposed))?.id == decomposed)
  }

  @Test("of a header, the first cookie of a name counts, as Express reads it")
  func header() {
    func value(_ header: String) -> String? { CookieHeader.value(of: "connect.sid", in: header) }
    #expect(value("a=1; connect.sid=x; connect.sid=y") == "x")
    #expect(value("connect.sid = \t x \t;b=2") == "x")
    #expect(value("connect.sid=\"x\"") == "x")
    #expect(value("connect.sid=\"x") == "\"x")
    #expect(value("connect.sid=a=b") == "a=b")
    #expect(value("connect.sid; connect.sid=x") == "x")
    #expect(value("Connect.sid=x") == nil)
    #expect(value("xconnect.sid=x") == nil)
    #expect(value("connect.sid=zo\u{EB}") == nil)
    #expect(value("") == nil)
    #expect(value(";;=;=x;") == nil)
  }

  @Test("random bytes are never taken for a cookie, and never end the program")
  func fuzz() throws {
    let secrets = try #require(SessionSecrets(["keyboard cat", "old"]))
    var random = SystemRandomNumberGenerator()
    let alphabet = Array("s:%3A.=\"; abcé\u{0}\u{7F}\u{200D}+/_-🔑%%..".unicodeScalars)
    let whole = secrets.cookie(for: SessionID("abc"))
    for _ in 0..<20_000 {
      var scalars = Array((Bool.random(using: &random) ? whole : "s:").unicodeScalars)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let position = Int.random(in: 0...scalars.count, using: &random)
        if let scalar = alphabet.randomElement(using: &random) {
          scalars.insert(scalar, at: position)
        }
        if Bool.random(using: &random), !scalars.isEmpty {
          scalars.remove(at: Int.random(in: 0..<scalars.count, using: &random))
        }
      }
      var text = String.UnicodeScalarView()
      text.append(contentsOf: scalars)
      let cookie = String(text)
      if let verified = secrets.verify(cookie) {
        // Only another spelling of a cookie that was signed.
        #expect(verified.id == SessionID("abc"), "\(cookie)")
      }
      _ = CookieHeader.value(of: "connect.sid", in: "connect.sid=\(cookie)")
      _ = SessionSecrets.isCookie(cookie)
    }
  }

  @Test("a short form shows at most half of an id, and tells two of them apart")
  func short() {
    let id = SessionID("VbH9u_-0Kc3xTqQ1s8mZ7yPpLw2dNe4R")
    #expect(id.short.hasPrefix("VbH9u_~") && id.short.utf8.count == 15)
    #expect(SessionID.isShort(id.short) && !SessionID.isShort(id.text))
    #expect(SessionID("abc").short.hasPrefix("a~"))
    #expect(SessionID("a").short.hasPrefix("~"))
    #expect(SessionID("abcdef1").short != SessionID("abcdef2").short)
    let ids = (0..<1000).map { _ in SessionID.random() }
    #expect(Set(ids).count == 1000)
    let isPlain = ids.allSatisfy { id in
      id.text.utf8.count == 32
        && id.text.allSatisfy { $0.isLetter || $0.isNumber || "_-".contains($0) }
    }
    #expect(isPlain)
  }
}
