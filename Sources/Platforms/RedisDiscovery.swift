import NIOCore
import PaasbusRedis

/// Where Redis is and how connections to it are encrypted, from the environment and from what is given
/// beside it.
public struct RedisDiscovery: Sendable {
  /// What is given beside the environment, and wins over it.
  public struct Choices: Sendable {
    /// A URL, which wins over all variables.
    public var url: String?
    /// PEM files.
    public var authorityFile, certificateFile, keyFile: String?
    /// Whether any certificate of the server will do.
    public var skipsTLSVerification = false

    /// Nothing beside the environment.
    public init() {}
  }

  /// The Redis, and the variable that names it.
  public let location: RedisLocation
  /// nil where nothing is encrypted.
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

  /// What makes connections.
  ///
  /// - Parameter eventLoop: where its connections live; nil for one of ours.
  public func connector(
    timeout: Duration = .seconds(5), eventLoop: (any EventLoop)? = nil
  ) -> RedisConnector {
    RedisConnector(
      endpoint: location.endpoint, tls: tls, timeout: timeout, eventLoop: eventLoop)
  }
}
