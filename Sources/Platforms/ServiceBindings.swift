import Redis

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Redis servers that a platform describes in JSON.
enum ServiceBindings {
  // MARK: Cloud Foundry

  private struct Service: Decodable {
    struct Credentials: Decodable {
      var uri, url, host, hostname, username, password: String?
      var port, tls_port: LooseNumber?
    }

    var name, label: String?
    var tags: [String]?
    var credentials: Credentials?

    var isTagged: Bool { tags?.contains { $0.lowercased() == "redis" } ?? false }
    func isNamed(_ key: String) -> Bool {
      [key, label ?? "", name ?? ""].contains { namesRedis($0) }
    }
  }

  /// `VCAP_SERVICES`: label → services, of which one tagged `redis` is preferred.
  static let cloudFoundry = RedisProvider(name: "VCAP_SERVICES") {
    environment throws(RedisURLError) in
    guard let text = environment["VCAP_SERVICES"] else { return .absent }
    let groups = try decode([String: [Service]].self, Data(text.utf8))
    let services = groups.sorted { $0.key < $1.key }.flatMap { key, services in
      services.map { (key: key, service: $0) }
    }
    let chosen =
      services.first { $0.service.isTagged } ?? services.first { $0.service.isNamed($0.key) }
    guard let credentials = chosen?.service.credentials else { return .absent }
    return .endpoint(try endpoint(credentials))
  }

  private static func endpoint(
    _ credentials: Service.Credentials
  ) throws(RedisURLError) -> RedisEndpoint {
    if let url = credentials.uri ?? credentials.url { return try RedisEndpoint(url: url) }
    guard let host = credentials.host ?? credentials.hostname else {
      throw RedisURLError(
        "the Redis service has neither a uri nor a host", remedy: "bind it anew, or give --url")
    }
    var parts = RedisParts(host: host)
    parts.usesTLS = credentials.tls_port != nil
    parts.port = (credentials.tls_port ?? credentials.port)?.text
    parts.username = credentials.username
    parts.password = credentials.password
    return try parts.endpoint()
  }

  // MARK: Platform.sh

  private struct Relationship: Decodable {
    var scheme, host, username, password, path: String?
    var port: LooseNumber?
  }

  /// `PLATFORM_RELATIONSHIPS`: base64 of name → relationships.
  static let platformSH = RedisProvider(name: "PLATFORM_RELATIONSHIPS") {
    environment throws(RedisURLError) in
    guard let text = environment["PLATFORM_RELATIONSHIPS"] else { return .absent }
    guard let data = Data(base64Encoded: text) else {
      throw RedisURLError("it is no base64", remedy: "give --url")
    }
    let groups = try decode([String: [Relationship]].self, data)
    let all = groups.sorted { $0.key < $1.key }.flatMap { key, list in
      list.map { (key: key, relationship: $0) }
    }
    let chosen = all.first { namesRedis($0.relationship.scheme ?? $0.key) }?.relationship
    guard let chosen, let host = chosen.host else { return .absent }
    var parts = RedisParts(host: host)
    parts.port = chosen.port?.text
    parts.usesTLS = chosen.scheme == "rediss"
    parts.username = chosen.username
    parts.password = chosen.password
    parts.database = chosen.path.flatMap { Int($0.drop { $0 == "/" }) } ?? 0
    return .endpoint(try parts.endpoint())
  }

  // MARK: Shared

  private static func namesRedis(_ text: String) -> Bool {
    let text = text.lowercased()
    return text.contains("redis") || text.contains("valkey")
  }

  private static func decode<Value: Decodable>(
    _ type: Value.Type, _ data: Data
  ) throws(RedisURLError) -> Value {
    do {
      return try JSONDecoder().decode(type, from: data)
    } catch {
      throw RedisURLError("it is not the JSON that it should be", remedy: "give --url")
    }
  }

  /// A number that some services write as text.
  private struct LooseNumber: Decodable {
    var text: String

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      text = try (try? container.decode(Int.self)).map(String.init) ?? container.decode(String.self)
    }
  }
}
