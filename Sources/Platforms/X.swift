import Redis
public struct PlatformIdentity: Sendable, Equatable {
  public var platform: String?
  public var name: String
  public var process, app, release, commit, region: String?
  public var meta: [String: String]
  public var signalsEveryProcess: Bool
}
extension PlatformIdentity {
  public static func detect(environment: [String: String], bootID: String, hostName: String, processID: Int32) -> PlatformIdentity { PlatformIdentity(name: "x", meta: [:], signalsEveryProcess: false) }
}
public struct RedisLocation: Sendable, Equatable {
  public var endpoint: RedisEndpoint
  public var source: String
  public var notes: [String]
}
public enum RedisLocator {
  public static func locate(url: String?, environment: [String: String]) throws(RedisLocatorError) -> RedisLocation? { nil }
  public static var variableNames: [String] { [] }
}
public struct RedisLocatorError: Error { public var problem = "", remedy = "" }
