extension RedisURLParts {
  /// A host with or without a port, as a URL writes them.
  static func host(
    _ text: Substring, defaultPort: Int
  ) throws(RedisURLError) -> RedisEndpoint.Host {
    guard !text.contains(",") else {
      throw .severalHosts
    }
    let (name, port) = try text.hasPrefix("[") ? splitBracketed(text) : splitPlain(text)
    guard !name.isEmpty else {
      throw .noHost
    }
    let decoded = try decode(name)
    guard text.hasPrefix("[") ? isIPv6(decoded) : decoded.allSatisfy(isHostCharacter) else {
      throw .host
    }
    guard !port.isEmpty else { return RedisEndpoint.Host(name: decoded, port: defaultPort) }
    guard port.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(port),
      (1...65535).contains(number)
    else {
      throw .port
    }
    return RedisEndpoint.Host(name: decoded, port: number)
  }

  private static func splitPlain(
    _ text: Substring
  ) throws(RedisURLError) -> (name: Substring, port: Substring) {
    guard let colon = text.firstIndex(of: ":") else { return (text, "") }
    let port = text[text.index(after: colon)...]
    guard !port.contains(":") else {
      throw .colons
    }
    return (text[..<colon], port)
  }

  private static func splitBracketed(
    _ text: Substring
  ) throws(RedisURLError) -> (name: Substring, port: Substring) {
    guard let end = text.firstIndex(of: "]") else {
      throw .openBracket
    }
    let behind = text[text.index(after: end)...]
    guard behind.isEmpty || behind.hasPrefix(":") else {
      throw .behindBracket
    }
    return (text[text.index(after: text.startIndex)..<end], behind.dropFirst())
  }

  /// Whether this looks like an address with or without a zone, such as `fe80::1%eth0`. The
  /// system's resolver checks the rest of its form.
  private static func isIPv6(_ text: String) -> Bool {
    let pieces = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = pieces.first, pieces.at(1) != "" else { return false }
    return address.contains(":")
      && address.allSatisfy { $0.isASCII && ($0.isHexDigit || $0 == ":" || $0 == ".") }
      && (pieces.at(1) ?? "").allSatisfy(isHostCharacter)
  }

  /// Docker and others allow underscores in names; a resolver may know names beyond ASCII.
  @Sendable private static func isHostCharacter(_ character: Character) -> Bool {
    (character.isLetter || character.isNumber || "-._~".contains(character))
      && !character.unicodeScalars.contains(where: \.isControl)
  }
}
