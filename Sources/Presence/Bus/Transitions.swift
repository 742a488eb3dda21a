import PaasbusRedis

/// The changes of an instance's state, each one script: record, lease, number, history and
/// message change together, or not at all.
///
/// All are idempotent by state, so that one whose reply was lost is simply sent again.
package struct Transitions: Sendable {
  /// What a script answers.
  package struct Outcome: Sendable {
    /// The event that was published, or `silent`, `refused`, `channel`.
    var word: String
    var position: Position
    /// The server's time, in ms.
    var now: Int64
    var started: Int64?
    var channel: String?
    /// Whether the server knew the script.
    var wasKnown: Bool

    init(_ reply: RedisValue, wasKnown: Bool) throws {
      let parts = reply.elements
      guard let word = parts.first?.string, let epoch = parts.at(1)?.integer,
        let seq = parts.at(2)?.integer, let now = parts.at(3)?.integer
      else {
        throw RedisError(.unexpectedReply(to: "EVALSHA"))
      }
      self.word = word
      self.wasKnown = wasKnown
      position = Position(epoch: epoch, seq: seq)
      self.now = now
      started = parts.at(4)?.integer
      channel = parts.at(5)?.string
    }
  }

  private static let scripts = Scripts()
  let keys: Keys

  package init(keys: Keys) {
    self.keys = keys
  }

  /// Announces an instance: `start`, `back`, or nothing where it is up.
  ///
  /// - Parameters:
  ///   - elapsed: how long ago the instance began.
  ///   - channel: the channel asked for; nil for the bus's own.
  ///   - lastChannel: the channel to use where the bus has none, or no longer has one.
  ///   - history: how many events to keep; nil leaves the bus's number unchanged.
  ///   - tellsReturn: whether `back` is published even where the instance is up, since its earlier
  ///     announcer died.
  /// - Throws: `RedisError`.
  package func start(
    _ instance: Instance, elapsed: Duration, channel: String?, lastChannel: String? = nil,
    history: Int?, tellsReturn: Bool = false, on connection: RedisConnection
  ) async throws -> Outcome {
    let halves = instance.recordHalves
    return try await run(
      Self.scripts.start,
      [
        .text(instance.id), .bytes(halves.before), .bytes(halves.behind),
        .text(instance.started.map(String.init) ?? ""), .text("\(elapsed.milliseconds)"),
        .text("\(instance.lease)"), .text(channel ?? ""), .text(lastChannel ?? ""),
        .text(history.map(String.init) ?? ""), .text(tellsReturn ? "back" : ""),
      ], on: connection)
  }

  /// Loads the scripts for the end in advance. The end may come when the server hardly answers, so
  /// the commands that are sent then have to be short.
  ///
  /// - Throws: `RedisError`.
  func prepareEnd(on connection: RedisConnection) async throws {
    try await RedisScript.load([Self.scripts.drain, Self.scripts.stop], on: connection)
  }

  /// Says that an instance is draining.
  ///
  /// - Throws: `RedisError`.
  func drain(
    _ id: String, reason: String, on connection: RedisConnection
  ) async throws -> Outcome {
    var extra = JSONText()
    extra.member("reason", reason)
    return try await run(
      Self.scripts.drain, [.text(id), .bytes([0x2C] + extra.bytes)], on: connection)
  }

  /// Says that an instance ended. An instance without `started` is one whose `start` may not have
  /// arrived.
  ///
  /// - Parameter usage: what the instance used when that was last measured.
  /// - Throws: `RedisError`.
  package func stop(
    _ instance: Instance, elapsed: Duration, stop: InstanceStop, usage: InstanceUsage? = nil,
    lastChannel: String? = nil, on connection: RedisConnection
  ) async throws -> Outcome {
    let halves = instance.recordHalves
    var extra = JSONText()
    extra.member("reason", stop.reason)
    extra.member("exit", stop.exit.map(Int64.init))
    extra.member("signal", stop.signal)
    extra.member("memory", usage?.memory)
    extra.member("limit", usage?.limit)
    return try await run(
      Self.scripts.stop,
      [
        .text(instance.id), .bytes(halves.before), .bytes(halves.behind),
        .text(instance.started.map(String.init) ?? ""), .text("\(elapsed.milliseconds)"),
        .bytes([0x2C] + extra.bytes), .text(lastChannel ?? ""),
      ], on: connection)
  }

  /// Declares an instance lost, provided that its lease still has the end that the observer saw.
  ///
  /// - Parameter latest: the server time in ms after which this does nothing.
  /// - Throws: `RedisError`.
  func reap(
    _ lost: LeaseObserver.Lost, latest: Int64, reason: String, on connection: RedisConnection
  ) async throws -> Outcome {
    try await run(
      Self.scripts.reap,
      [
        .text(lost.id), .text("\(lost.end)"), .text("\(latest)"), .text(reason),
        .text(lost.isAhead ? "ahead" : ""),
      ], on: connection)
  }

  /// Removes an instance by hand; says whether there was one.
  ///
  /// - Throws: `RedisError`.
  package func forget(_ id: String, on connection: RedisConnection) async throws -> Bool {
    try await run(Self.scripts.forget, [.text(id)], on: connection).word == "forgotten"
  }

  private enum Argument {
    case text(String)
    case bytes([UInt8])

    var bytes: [UInt8] {
      switch self {
      case .text(let text): Array(text.utf8)
      case .bytes(let bytes): bytes
      }
    }
  }

  private func run(
    _ script: RedisScript, _ arguments: [Argument], on connection: RedisConnection
  ) async throws -> Outcome {
    let (reply, wasKnown) = try await script.run(
      on: connection, keys: keys.transition.map { Array($0.utf8) },
      arguments: arguments.map(\.bytes))
    return try Outcome(reply, wasKnown: wasKnown)
  }
}

/// The scripts; those of transitions have the shared prelude before them. A change of a script also changes its
/// digest; the tests compare the digests with the server's.
struct Scripts: Sendable {
  let start = Self.load(
    PackageResources.start_lua, digest: "9c9985f8b2832771c464dd09769040464be8970a")
  let drain = Self.load(
    PackageResources.drain_lua, digest: "b4f3e64cd05ed808d76bdac7f0792fe8b93013ec")
  let stop = Self.load(
    PackageResources.stop_lua, digest: "794ea7555a58908f28e369f3530b1e25a51ca9ff")
  let reap = Self.load(
    PackageResources.reap_lua, digest: "d8ce191d3e6252ebdfb542ca59e5c90960751a71")
  let forget = Self.load(
    PackageResources.forget_lua, digest: "4e40465116b4de7c1e0dd0d064c3bee7ed4987ed")

  /// Those of handlers, which share nothing with the others.
  static let claim = RedisScript(
    source: PackageResources.claim_lua, digest: "89c10eb81c5c54ba65fedf553376e9f08cb68c25")
  static let advance = RedisScript(
    source: PackageResources.advance_lua, digest: "734135dd6e5b884210706ed2e9f211610732de89")

  var all: [RedisScript] { [start, drain, stop, reap, forget, Self.claim, Self.advance] }

  private static func load(_ source: [UInt8], digest: String) -> RedisScript {
    RedisScript(source: PackageResources.prelude_lua + source, digest: digest)
  }
}
