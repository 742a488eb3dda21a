#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What Cloud Foundry says about an app. A member that is missing or malformed does not affect the
/// others.
struct VCAPApplication {
  var name, version, processType: String?

  /// nil where the variable is not JSON.
  init?(_ facts: PlatformFacts) {
    guard let text = facts.first("VCAP_APPLICATION"),
      let members = try? JSONDecoder().decode(LooseJSON.self, from: Data(text.utf8))
    else { return nil }
    name = members["application_name"].text
    version = members["application_version"].text
    processType = members["process_type"].text
  }
}
