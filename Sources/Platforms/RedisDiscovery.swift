import NIOCore
import PaasbusRedis

/// Where Redis is and how connections to it are encrypted, from the environment and from further
/// choices.
public struct RedisDiscovery: Sendable {
  /// Choices in addition to the environment, which win over it.
  public struct Choices: Sendable {
    /// A URL, which wins over all variables.
    public var url: String?
    /// PEM files.
    public var authorityFile, certificateFile, keyFile: String?
    /// Whether any certificate of the server is accepted.
    public var skipsTLSVerification = false

    /// No choices, so that only the environment counts.
    public init() {}
  }

  /// The Redis, and the variable that names it.
  public let location: RedisLocation
  /// nil where connections are not encrypted.
  public let tls: RedisTLS?

  /// - Returns: nil where no Redis is named.
  /// - Throws: ``RedisLocatorError``, `TLSFileError`.
  public init?(_ choices: Choices = Choices(), environment: [String: String]) throws {
    guard let location = try RedisLocator.locate(url: choices.url, environment: environment) else {
      return nil
    }
    self.location = location
    tls =
      try location.endpoint.usesTLS
      ? RedisTLS(Self.options(choices, location.endpoint, environment.settled)) : nil
  }

  private static func options(
    _ choices: Choices, _ endpoint: RedisEndpoint, _ environment: [String: String]
  ) -> RedisTLS.Options {
    var options = RedisTLS.Options()
    options.authorityFile = choices.authorityFile ?? environment["PAASBUS_TLS_CA"]
    options.certificateFile = choices.certificateFile
    options.keyFile = choices.keyFile
    options.skipsVerification =
      choices.skipsTLSVerification || endpoint.skipsTLSVerification
      || isOn(environment["PAASBUS_TLS_INSECURE"])
    options.environment = environment
    return options
  }

  private static func isOn(_ value: String?) -> Bool {
    let word = value?.lowercased().drop { $0.isWhitespace } ?? ""
    return ["1", "true", "yes", "on"].contains(word)
  }

  /// The connector that makes connections to it.
  ///
  /// - Parameter eventLoop: where its connections live; nil for one of ours.
  public func connector(
    timeout: Duration = .seconds(5), eventLoop: (any EventLoop)? = nil
  ) -> RedisConnector {
    RedisConnector(
      endpoint: location.endpoint, tls: tls, timeout: timeout, eventLoop: eventLoop)
  }
}
