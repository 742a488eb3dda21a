import PaasbusRedis

/// A Redis that was found, and where its address was found.
public struct RedisLocation: Sendable, Equatable {
  /// The Redis.
  public var endpoint: RedisEndpoint
  /// The option or variable that named it.
  public var source: String
  /// What else was found; contains no password.
  public var notes: [RedisLocationNote] = []
  /// The options and variables from whose end blanks were removed.
  public var trimmed: [String] = []
}

/// What a search for a Redis found besides the one that is used.
public enum RedisLocationNote: Sendable, Equatable {
  /// A variable holds the address of a REST interface.
  case restAddress(variable: String)
  /// A variable cannot be read, but is not needed.
  case unreadable(variable: String)
  /// Variables that would lead to another server than the one used.
  case otherServers(variables: [String], used: String)
}

/// Why the option or variable that counts cannot be used; it does not contain the value.
public struct RedisLocatorError: Error, Sendable, Equatable {
  /// What is wrong with it.
  public enum Cause: Error, Sendable, Equatable {
    case url(RedisURLError)
    /// A variable that should contain a port does not.
    case port(variable: String)
    /// A host contains parts of a URL.
    case hostOnly
    /// A service's description names neither a URL nor a host.
    case noAddress
    /// A description is not the base64 that it should be.
    case noBase64
    /// A description is not the JSON that it should be.
    case noJSON
  }

  /// The option or variable.
  public var source: String
  /// What is wrong with it.
  public var cause: Cause
}

/// Finds the Redis that the environment names. A pure function of its arguments.
public enum RedisLocator {
  /// The names of the variables that are tried, in order.
  public static var variableNames: [String] {
    ["PAASBUS_URL"] + RedisProviders.all.map(\.name)
  }

  /// The first of `--url`, `PAASBUS_URL` and the providers' variables; nil where none is set.
  ///
  /// - Throws: ``RedisLocatorError`` when the first that is set cannot be read.
  public static func locate(
    url: String?, environment: [String: String]
  ) throws(RedisLocatorError) -> RedisLocation? {
    let settled = environment.settled
    if let url { return try explicit(url, source: "--url") }
    if settled["PAASBUS_URL"] != nil, let url = environment["PAASBUS_URL"] {
      return try explicit(url, source: "PAASBUS_URL")
    }
    var location = try provided(settled)
    let provider = RedisProviders.all.first { $0.name == location?.source }
    location?.trimmed = provider?.variables.filter { environment[$0] != settled[$0] } ?? []
    return location
  }

  private static func explicit(
    _ given: String, source: String
  ) throws(RedisLocatorError) -> RedisLocation {
    let url = given.withoutTrailingBlanks
    do {
      return RedisLocation(
        endpoint: try RedisEndpoint(url: url), source: source,
        trimmed: url == given ? [] : [source])
    } catch {
      throw RedisLocatorError(source: source, cause: .url(error))
    }
  }

  private static func provided(
    _ environment: [String: String]
  ) throws(RedisLocatorError) -> RedisLocation? {
    var found: RedisLocation?
    var others: [String] = []
    var notes: [RedisLocationNote] = []
    // A description that cannot be read counts only where nothing else names a Redis.
    var unreadable: RedisLocatorError?
    for provider in RedisProviders.all {
      do {
        switch try provider.read(environment) {
        case .absent: break
        case .restAddress: notes.append(.restAddress(variable: provider.name))
        case .endpoint(let endpoint):
          if let found {
            if found.endpoint.server != endpoint.server { others.append(provider.name) }
          } else {
            found = RedisLocation(endpoint: endpoint, source: provider.name)
          }
        }
      } catch {
        let failure = RedisLocatorError(source: provider.name, cause: error)
        guard found != nil || provider.isDescription else { throw unreadable ?? failure }
        unreadable = unreadable ?? failure
        notes.append(.unreadable(variable: provider.name))
      }
    }
    if found == nil, let unreadable { throw unreadable }
    if let source = found?.source, !others.isEmpty {
      notes.append(.otherServers(variables: others, used: source))
    }
    found?.notes = notes
    return found
  }
}

extension RedisEndpoint {
  /// The part by which two endpoints are compared: they are the same server if it is equal, even if
  /// the logins differ. Names of hosts are the same in upper and lower case (RFC 4343).
  fileprivate var server: Address {
    func lowercased(_ host: Host) -> Host { Host(name: host.name.lowercased(), port: host.port) }
    return switch address {
    case .tcp(let host): .tcp(lowercased(host))
    case .unixSocket: address
    case .sentinel(let hosts, let master): .sentinel(hosts: hosts.map(lowercased), master: master)
    }
  }
}
