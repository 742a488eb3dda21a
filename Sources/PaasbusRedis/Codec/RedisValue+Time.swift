extension RedisValue {
  /// The reply to `TIME` in ms since 1970.
  ///
  /// - Throws: ``RedisError`` for any other reply.
  package var serverTime: Int64 {
    get throws {
      let parts = try elements(to: "TIME", count: 2)
      guard let seconds = parts.first?.integer, let microseconds = parts.at(1)?.integer,
        (0...32_503_680_000).contains(seconds), (0..<1_000_000).contains(microseconds)
      else { throw RedisError(.unexpectedReply(to: "TIME")) }
      return seconds * 1000 + microseconds / 1000
    }
  }
}
