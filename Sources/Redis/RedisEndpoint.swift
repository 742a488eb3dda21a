public struct RedisEndpoint: Sendable, Hashable {
  public struct Host: Sendable, Hashable { public var name: String; public var port: Int }
  public enum Address: Sendable, Hashable {
    case tcp(Host)
    case unixSocket(path: String)
    case sentinel(hosts: [Host], master: String)
  }
  public var address: Address
  public var usesTLS = false
  public var skipsTLSVerification = false
  public var username: String?
  public var password: String?
  public var database: Int = 0
  public var ignoredQueryItems: [String] = []
  public init(address: Address) { self.address = address }
  public var redactedURL: String { "x" }
  public var hostName: String? { nil }
}
