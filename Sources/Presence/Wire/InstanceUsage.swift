import PaasbusRedis

/// What an instance used when it last said that it is there.
public struct InstanceUsage: Sendable, Hashable {
  /// In bytes.
  public var memory: Int64?
  /// How much memory it may use, in bytes; nil where nothing but the machine limits it.
  public var limit: Int64?
  /// How much of a processor it used between its last two beats; 2 is two whole ones.
  public var cpu: Double?
  /// How many processes it has.
  public var processes: Int64?
  /// How many of its processes the kernel has killed since the memory ran out.
  public var oomKills: Int64?

  /// A usage of which nothing is known yet.
  public init() {}

  /// No system has values outside of this, and they would make arithmetic overflow later.
  private static let possible: ClosedRange<Int64> = 0...(1 << 53)

  /// Reads what ``json`` writes, with members in any order; nil for anything else.
  ///
  /// By hand, since a fleet has one for each instance and a decoder takes ten times as long.
  init?(_ text: some StringProtocol) {
    guard text.hasPrefix("{"), text.hasSuffix("}") else { return nil }
    for member in text.dropFirst().dropLast().split(separator: ",") {
      let parts = member.split(separator: ":")
      guard parts.count == 2 else { return nil }
      let whole = Int64(parts[1]).flatMap { Self.possible.contains($0) ? $0 : nil }
      switch parts[0] {
      case #""memory""#: memory = whole
      case #""limit""#: limit = whole
      case #""processes""#: processes = whole
      case #""oomKills""#: oomKills = whole
      case #""cpu""#: cpu = Double(parts[1]).flatMap { (0...1_000_000).contains($0) ? $0 : nil }
      default: continue
      }
    }
  }

  /// As it is kept on Redis, and shown.
  package var json: [UInt8] {
    var text = JSONText()
    text.member("memory", memory)
    text.member("limit", limit)
    if let cpu { text.member("cpu", json: Array(Self.decimal(cpu).utf8)) }
    text.member("processes", processes)
    text.member("oomKills", oomKills)
    return text.object
  }

  /// With two decimals at most.
  private static func decimal(_ value: Double) -> String {
    let hundredths = Int64(max(0, min(value, 1_000_000)) * 100 + 0.5)
    let (whole, rest) = hundredths.quotientAndRemainder(dividingBy: 100)
    return rest == 0 ? "\(whole)" : "\(whole).\(rest < 10 ? "0" : "")\(rest)"
  }

  /// Whether a person would see the difference.
  func isLike(_ other: InstanceUsage) -> Bool {
    let difference = abs((memory ?? 0) - (other.memory ?? 0))
    return difference < max(1 << 20, (memory ?? 0) / 50)
      && abs((cpu ?? 0) - (other.cpu ?? 0)) < 0.02
      && (cpu == nil) == (other.cpu == nil)
      && (limit, processes, oomKills) == (other.limit, other.processes, other.oomKills)
  }
}

extension InstanceUsage {
  /// What all instances of a bus use, by id. Some may be those of instances that are not recorded any longer.
  ///
  /// - Throws: `RedisError`.
  package static func read(
    keys: Keys, on connection: RedisConnection
  ) async throws -> [String: InstanceUsage] {
    // Without the permission to read it, or with a key of another type, there is just no usage.
    let flat =
      try await connection.pipeline([RedisCommand("HGETALL", keys.usage)]).first?.elements ?? []
    var usages: [String: InstanceUsage] = [:]
    for index in stride(from: 0, to: flat.count - 1, by: 2) {
      if let id = flat[index].string, let text = flat[index + 1].string {
        usages[id] = InstanceUsage(text)
      }
    }
    return usages
  }
}
