#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What Cloud Foundry says of an app; member names are its own.
struct VCAPApplication: Decodable {
  var application_name, application_version, process_type: String?

  /// nil where the variable is no JSON of that shape.
  init?(_ facts: PlatformFacts) {
    guard let text = facts.first("VCAP_APPLICATION"),
      let decoded = try? JSONDecoder().decode(Self.self, from: Data(text.utf8))
    else { return nil }
    self = decoded
  }
}
