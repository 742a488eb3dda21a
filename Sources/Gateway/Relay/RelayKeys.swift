/// The keys and the channel of a relay. All but the clock live for ten minutes at most.
struct RelayKeys: Sendable, Hashable {
  /// Of what gateways say to each other. Those of another one are refused.
  static let version = "2"

  let app: String

  private var prefix: String { "paasbus:{\(app)}:relay:" }

  /// Hash: `line`, `process`, `last`, `published`, `version`, `pattern`, `handover`. Also the channel on which the
  /// gateways talk to each other.
  var clock: String { prefix + "clock" }

  /// Sorted set: messages that are kept for gateways that come later, by their marks.
  var kept: String { prefix + "kept" }

  /// String: a piece of what one gateway lends another.
  func fill(_ request: String, by lender: String, piece: Int) -> String {
    prefix + "fill:\(request):\(lender):\(piece)"
  }

  /// String: what a gateway remembered when it ended.
  func handover(_ name: String) -> String { prefix + "handover:\(name)" }
}
