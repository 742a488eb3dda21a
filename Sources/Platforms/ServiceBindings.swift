import PaasbusRedis

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Redis servers that a platform describes in JSON.
enum ServiceBindings {
  /// An entry of such a description, with the name of the group in which it stands.
  private struct Entry {
    var group: String
    var value: LooseJSON
  }

  // MARK: Cloud Foundry

  /// `VCAP_SERVICES`: label → services. A service that is tagged `redis` is preferred.
  static let cloudFoundry = RedisProvider(name: "VCAP_SERVICES", isDescription: true) {
    environment throws(RedisLocatorError.Cause) in
    guard let text = environment["VCAP_SERVICES"] else { return .absent }
    let services = try entries(Data(text.utf8))
    let chosen =
      services.first { $0.value["tags"].list.contains { $0.text?.lowercased() == "redis" } }
      ?? services.first { service in
        [service.group, service.value["label"].text, service.value["name"].text]
          .contains { namesRedis($0) }
      }
    guard let credentials = chosen?.value["credentials"], credentials.object != nil else {
      return .absent
    }
    return .endpoint(try endpoint(credentials))
  }

  private static func endpoint(_ credentials: LooseJSON) throws(RedisLocatorError.Cause)
    -> RedisEndpoint
  {
    if let url = credentials["uri"].text ?? credentials["url"].text {
      return try .read(url)
    }
    guard let host = credentials["host"].text ?? credentials["hostname"].text else {
      throw .noAddress
    }
    let securePort = credentials["tls_port"].text.flatMap { $0 == "0" ? nil : $0 }
    var parts = RedisParts(host: host)
    parts.usesTLS = securePort != nil
    parts.port = securePort ?? credentials["port"].text
    parts.username = credentials["username"].text
    parts.password = credentials["password"].text
    return try parts.endpoint()
  }

  // MARK: Platform.sh

  private static let schemes = ["redis", "rediss", "valkey", "valkeys"]

  /// `PLATFORM_RELATIONSHIPS`: base64 of name → relationships. A relationship with the scheme of
  /// Redis is preferred to one that only has Redis in its name.
  static let platformSH = RedisProvider(name: "PLATFORM_RELATIONSHIPS", isDescription: true) {
    environment throws(RedisLocatorError.Cause) in
    guard let text = environment["PLATFORM_RELATIONSHIPS"] else { return .absent }
    guard let data = Data(base64Encoded: text.filter { !$0.isWhitespace }) else {
      throw .noBase64
    }
    let all = try entries(data)
    let chosen =
      all.first { schemes.contains(scheme($0.value)) }
      ?? all.first { namesRedis($0.group) && !scheme($0.value).hasPrefix("http") }
    guard let relationship = chosen?.value, let host = relationship["host"].text else {
      return .absent
    }
    var parts = RedisParts(host: host)
    parts.port = relationship["port"].text
    parts.usesTLS = ["rediss", "valkeys"].contains(scheme(relationship))
    parts.username = relationship["username"].text
    parts.password = relationship["password"].text
    let number = relationship["path"].text.flatMap { Int($0.drop { $0 == "/" }) }
    parts.database = max(0, number ?? 0)
    return .endpoint(try parts.endpoint())
  }

  private static func scheme(_ relationship: LooseJSON) -> String {
    relationship["scheme"].text?.lowercased() ?? ""
  }

  // MARK: Shared

  private static func namesRedis(_ text: String?) -> Bool {
    guard let text = text?.lowercased() else { return false }
    return text.contains("redis") || text.contains("valkey")
  }

  /// All entries of all groups, sorted by the groups' names, since JSON objects have no order.
  private static func entries(_ data: Data) throws(RedisLocatorError.Cause) -> [Entry] {
    guard let groups = try? JSONDecoder().decode(LooseJSON.self, from: data).object else {
      throw .noJSON
    }
    return groups.sorted { $0.key < $1.key }.flatMap { group, value in
      value.list.map { Entry(group: group, value: $0) }
    }
  }
}
