#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What Cloud Foundry says of an app. A member that is missing or odd takes no other along.
struct VCAPApplication {
  var name, version, processType: String?

  /// nil where the variable is no JSON.
  init?(_ facts: PlatformFacts) {
    guard let text = facts.first("VCAP_APPLICATION"),
      let members = try? JSONDecoder().decode(LooseJSON.self, from: Data(text.utf8))
    else { return nil }
    name = members["application_name"].text
    version = members["application_version"].text
    processType = members["process_type"].text
  }
}
