/// The identity of an instance, from the variables that its platform sets. What is unknown is nil.
public struct PlatformIdentity: Sendable, Equatable {
  /// `heroku`, `fly`, …; nil where none is recognised.
  public var platform: String?
  /// The instance's name.
  public var name: String
  /// Values that the platform gives; nil where it does not.
  public var process, app, release, commit, region: String?
  /// Further values that the platform gives.
  public var meta: [String: String] = [:]
  /// Whether the platform sends its signals to every process itself.
  public var signalsEveryProcess = false

  init(name: String) {
    self.name = name
  }

  /// Recognises the platform; the first of ``PlatformTable`` that matches wins. Variables that are
  /// empty count as not set.
  ///
  /// - Parameters:
  ///   - bootID: the run's id, whose end distinguishes instances of the same name.
  public static func detect(
    environment: [String: String], bootID: String, hostName: String, processID: Int32
  ) -> PlatformIdentity {
    let facts = PlatformFacts(
      environment: environment.settled, bootID: bootID, hostName: hostName)
    let row = PlatformTable.rows.first { $0.isDetected(facts) }
    guard let row else {
      return PlatformIdentity(name: "\(facts.shortHostName).\(processID)")
    }
    var identity = PlatformIdentity(name: row.name(facts) ?? facts.shortHostName)
    identity.platform = row.platform
    identity.process = row.process(facts)
    identity.app = row.app(facts)
    identity.release = row.release(facts)
    identity.commit = row.commit(facts)
    identity.region = row.region(facts)
    identity.meta = row.meta(facts)
    identity.signalsEveryProcess = row.signalsEveryProcess
    return identity
  }
}

/// The facts from which the table's rows recognise and describe a platform.
struct PlatformFacts: Sendable {
  var environment: [String: String]
  var bootID: String
  var hostName: String

  /// The first of the variables that is set.
  func first(_ names: String...) -> String? {
    names.lazy.compactMap { environment[$0] }.first
  }

  func has(_ name: String) -> Bool { environment[name] != nil }

  var shortHostName: String { String(hostName.prefix { $0 != "." }) }

  /// The end of the run's id, which distinguishes runs.
  var bootTail: String { bootID.suffix(6).lowercased() }

  /// The parts that are known, joined; nil without the first.
  func joined(_ first: String?, _ separator: String, _ second: String?) -> String? {
    guard let first else { return nil }
    return second.map { first + separator + $0 } ?? first
  }
}
