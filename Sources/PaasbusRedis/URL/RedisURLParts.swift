/// The pieces of a URL, still encoded.
struct RedisURLParts {
  var scheme: String
  var userInfo: Substring?
  /// The part between the user and the path.
  var hosts: Substring
  /// With its leading slash, or empty.
  var path: Substring
  var query: Substring

  init(_ url: String) throws(RedisURLError) {
    guard let marker = url.firstRange(of: "://") else {
      throw url.isEmpty ? .empty : .noScheme(isPath: url.hasPrefix("/"))
    }
    scheme = url[..<marker.lowerBound].lowercased()
    var rest = url[marker.upperBound...]
    if let at = try Self.userEnd(rest, mayBeBare: !scheme.hasSuffix("sentinel")) {
      userInfo = rest[..<at]
      rest = rest[rest.index(after: at)...]
    }
    if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
    let question = rest.firstIndex(of: "?")
    query = question.map { rest[rest.index(after: $0)...] } ?? ""
    rest = rest[..<(question ?? rest.endIndex)]
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    (hosts, path) = (rest[..<slash], rest[slash...])
  }

  /// The `@` at which user and password end: the last one before the first `/`, `?` or `#`.
  ///
  /// Some users paste passwords that contain such characters unencoded. So an `@` that comes later
  /// may be the real end, and the text before it must not be used as a host, since half a password
  /// would be sent there. A later `@` is taken only if nothing else can be meant, that is, if the
  /// text before it is not a host and port.
  private static func userEnd(
    _ rest: Substring, mayBeBare: Bool
  ) throws(RedisURLError) -> Substring.Index? {
    let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
    let (authority, behind) = (rest[..<end], rest[end...])
    let at = authority.lastIndex(of: "@")
    // Without a host this is a socket, whose path may hold any character.
    guard let late = behind.firstIndex(of: "@"), !authority.isEmpty, !authority.hasSuffix("@")
    else { return at }
    guard mayBeBare, at == nil, late == behind.lastIndex(of: "@"), !looksLikeHost(authority)
    else {
      throw .lateAt
    }
    return late
  }

  private static func looksLikeHost(_ text: Substring) -> Bool {
    guard let colon = text.lastIndex(of: ":"), !text.hasPrefix("[") else { return true }
    let port = text[text.index(after: colon)...]
    return colon != text.startIndex && port.allSatisfy { $0.isASCII && $0.isNumber }
  }

  // MARK: Login

  func login() throws(RedisURLError) -> (user: String?, password: String?) {
    guard let userInfo, !userInfo.isEmpty else { return (nil, nil) }
    guard let colon = userInfo.firstIndex(of: ":") else {
      return (nil, try Self.decode(userInfo))
    }
    let user = try Self.decode(userInfo[..<colon])
    let password = try Self.decode(userInfo[userInfo.index(after: colon)...])
    return (user.isEmpty ? nil : user, password.isEmpty ? nil : password)
  }

  // MARK: Address

  /// The address, and the part of the path that may name a database.
  func address(
    _ kind: RedisScheme.Kind
  ) throws(RedisURLError) -> (RedisEndpoint.Address, path: Substring) {
    switch kind {
    case .server: (.tcp(try Self.host(hosts, defaultPort: 6379)), path.dropFirst())
    case .socket: (.unixSocket(path: try socketPath()), "")
    case .sentinel: try sentinels()
    }
  }

  private func sentinels() throws(RedisURLError) -> (RedisEndpoint.Address, path: Substring) {
    let pieces = path.dropFirst().split(
      separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let master = try Self.decode(pieces.first ?? "")
    guard !master.isEmpty, !master.unicodeScalars.contains(where: \.isControl) else {
      throw .noMaster
    }
    var list: [RedisEndpoint.Host] = []
    for text in hosts.split(separator: ",", omittingEmptySubsequences: false) {
      list.append(try Self.host(text, defaultPort: 26379))
    }
    return (.sentinel(hosts: list, master: master), pieces.at(1) ?? "")
  }

  private func socketPath() throws(RedisURLError) -> String {
    let path = try Self.decode(path)
    guard hosts.isEmpty, path.count > 1 else {
      throw .noSocketPath
    }
    guard !path.unicodeScalars.contains(where: \.isControl) else {
      throw .controlsInPath
    }
    // `sun_path` has room for 108 bytes, the last of which is zero (unix(7)).
    guard path.utf8.count <= 107 else {
      throw .longPath
    }
    return path
  }

  static func database(in text: Substring) throws(RedisURLError) -> Int {
    let digits = text.hasSuffix("/") ? text.dropLast() : text
    return digits.isEmpty ? 0 : try databaseNumber(digits)
  }

  static func databaseNumber(_ text: Substring) throws(RedisURLError) -> Int {
    guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(text),
      number <= Int(Int32.max)
    else {
      throw .database
    }
    return number
  }

  // MARK: Characters

  /// Decodes `%41`; `+` stays `+`.
  static func decode(_ text: Substring) throws(RedisURLError) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      let digits = String(decoding: rest.prefix(2), as: UTF8.self)
      guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
        let decoded = UInt8(digits, radix: 16), decoded != 0
      else {
        throw .encoding
      }
      bytes.append(decoded)
      rest = rest.dropFirst(2)
    }
    guard let decoded = String(validating: bytes, as: UTF8.self) else {
      throw .noUTF8
    }
    return decoded
  }
}

extension Unicode.Scalar {
  /// Whether it moves or hides text and is not itself text.
  var isControl: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }

  var isSpace: Bool { properties.isWhitespace }
}
