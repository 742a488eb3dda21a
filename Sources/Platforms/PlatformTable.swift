/// A platform: how it is recognised, and which of its variables hold which value.
struct PlatformRow: Sendable {
  typealias Fact = @Sendable (PlatformFacts) -> String?

  var platform: String
  var isDetected: @Sendable (PlatformFacts) -> Bool
  var name: Fact
  var process: Fact = { _ in nil }
  var app: Fact = { _ in nil }
  var release: Fact = { _ in nil }
  var commit: Fact = { _ in nil }
  var region: Fact = { _ in nil }
  var meta: @Sendable (PlatformFacts) -> [String: String] = { _ in [:] }
  var signalsEveryProcess = false
}

/// All platforms that are recognised, in the order in which they are tried. Source: the vendors'
/// pages on their runtime environments.
enum PlatformTable {
  static let rows = dynos + named + replicas + orchestrators

  private static let dynos = [
    PlatformRow(
      platform: "heroku",
      isDetected: { $0.has("DYNO") && !$0.has("DOKKU_APP_NAME") && !$0.has("DOKKU_ROOT") },
      name: { $0.first("DYNO") }, process: { dynoProcess($0.first("DYNO")) },
      app: { $0.first("HEROKU_APP_NAME") }, release: { $0.first("HEROKU_RELEASE_VERSION") },
      commit: { $0.first("HEROKU_SLUG_COMMIT", "HEROKU_BUILD_COMMIT") },
      signalsEveryProcess: true),
    PlatformRow(
      platform: "dokku",
      isDetected: { $0.has("DOKKU_ROOT") || ($0.has("DYNO") && $0.has("DOKKU_APP_NAME")) },
      name: { $0.first("DYNO") }, process: { dynoProcess($0.first("DYNO")) },
      app: { $0.first("DOKKU_APP_NAME") }, commit: { $0.first("GIT_REV") }),
  ]

  private static let named = [
    PlatformRow(
      platform: "fly", isDetected: { $0.has("FLY_MACHINE_ID") },
      name: { $0.first("FLY_MACHINE_ID") }, process: { $0.first("FLY_PROCESS_GROUP") },
      app: { $0.first("FLY_APP_NAME") }, release: { $0.first("FLY_MACHINE_VERSION") },
      region: { $0.first("FLY_REGION") },
      meta: { facts in facts.first("FLY_IMAGE_REF").map { ["image": $0] } ?? [:] }),
    PlatformRow(
      platform: "render", isDetected: { $0.has("RENDER") },
      name: { $0.first("RENDER_INSTANCE_ID") }, process: { $0.first("RENDER_SERVICE_TYPE") },
      app: { $0.first("RENDER_SERVICE_NAME") }, commit: { $0.first("RENDER_GIT_COMMIT") }),
    PlatformRow(
      platform: "railway", isDetected: { $0.has("RAILWAY_REPLICA_ID") },
      name: { facts in
        let replica = facts.first("RAILWAY_REPLICA_ID").map { String($0.prefix(8)) }
        return facts.joined(facts.first("RAILWAY_SERVICE_NAME"), "-", replica) ?? replica
      },
      process: { $0.first("RAILWAY_SERVICE_NAME") }, app: { $0.first("RAILWAY_PROJECT_NAME") },
      release: { $0.first("RAILWAY_DEPLOYMENT_ID") },
      commit: { $0.first("RAILWAY_GIT_COMMIT_SHA") },
      region: { $0.first("RAILWAY_REPLICA_REGION") }),
    PlatformRow(
      platform: "cloud-run", isDetected: { $0.has("K_SERVICE") },
      name: { $0.joined($0.first("K_REVISION", "K_SERVICE"), "-", $0.bootTail) },
      app: { $0.first("K_SERVICE") }, release: { $0.first("K_REVISION") }),
    PlatformRow(
      platform: "app-engine", isDetected: { $0.has("GAE_INSTANCE") },
      name: { $0.first("GAE_INSTANCE") }, process: { $0.first("GAE_SERVICE") },
      app: { $0.first("GAE_APPLICATION") }, release: { $0.first("GAE_VERSION") }),
    PlatformRow(
      platform: "azure-container-apps", isDetected: { $0.has("CONTAINER_APP_REPLICA_NAME") },
      name: { $0.first("CONTAINER_APP_REPLICA_NAME") }, app: { $0.first("CONTAINER_APP_NAME") },
      release: { $0.first("CONTAINER_APP_REVISION") }),
    PlatformRow(
      platform: "azure-app-service", isDetected: { $0.has("WEBSITE_INSTANCE_ID") },
      name: { facts in
        let instance = facts.first("WEBSITE_INSTANCE_ID").map { String($0.prefix(8)) }
        return facts.joined(facts.first("WEBSITE_SITE_NAME"), "-", instance) ?? instance
      },
      app: { $0.first("WEBSITE_SITE_NAME") }, region: { $0.first("REGION_NAME") }),
  ]

  private static let replicas = [
    PlatformRow(
      platform: "cloud-foundry", isDetected: { $0.has("VCAP_APPLICATION") },
      name: { facts in
        let process = VCAPApplication(facts)?.processType ?? facts.shortHostName
        return facts.joined(process, ".", facts.first("CF_INSTANCE_INDEX"))
      },
      process: { VCAPApplication($0)?.processType },
      app: { VCAPApplication($0)?.name },
      release: { VCAPApplication($0)?.version }),
    PlatformRow(
      platform: "openshift-v2", isDetected: { $0.has("OPENSHIFT_GEAR_UUID") },
      name: { $0.first("OPENSHIFT_GEAR_DNS", "OPENSHIFT_GEAR_UUID") },
      app: { $0.first("OPENSHIFT_APP_NAME") }),
    PlatformRow(
      platform: "scalingo", isDetected: { $0.has("CONTAINER") && $0.has("APP") },
      name: { $0.first("CONTAINER") },
      process: { $0.first("CONTAINER").map { String($0.prefix { $0 != "-" }) } },
      app: { $0.first("APP") }, commit: { $0.first("CONTAINER_VERSION") },
      region: { $0.first("REGION_NAME") }),
    PlatformRow(
      platform: "clever-cloud", isDetected: { $0.has("CC_DEPLOYMENT_ID") },
      name: { $0.joined($0.first("INSTANCE_TYPE"), ".", $0.first("INSTANCE_NUMBER")) },
      app: { $0.first("CC_APP_NAME", "APP_ID") }, release: { $0.first("CC_DEPLOYMENT_ID") },
      commit: { $0.first("CC_COMMIT_ID") }),
    PlatformRow(
      platform: "koyeb", isDetected: { $0.has("KOYEB_INSTANCE_ID") },
      name: {
        $0.joined($0.first("KOYEB_SERVICE_NAME"), ".", $0.first("KOYEB_REPLICA_INDEX"))
          ?? $0.first("KOYEB_INSTANCE_ID")
      },
      process: { $0.first("KOYEB_SERVICE_NAME") }, app: { $0.first("KOYEB_APP_NAME") },
      release: { $0.first("KOYEB_REGIONAL_DEPLOYMENT_ID") },
      region: { $0.first("KOYEB_REGION") }),
    PlatformRow(
      platform: "platform-sh", isDetected: { $0.has("PLATFORM_APPLICATION_NAME") },
      name: { $0.joined($0.first("PLATFORM_APPLICATION_NAME"), "-", $0.bootTail) },
      app: { $0.first("PLATFORM_PROJECT") }, release: { $0.first("PLATFORM_TREE_ID") }),
  ]

  private static let orchestrators = [
    PlatformRow(
      platform: "nomad", isDetected: { $0.has("NOMAD_ALLOC_ID") },
      name: { $0.joined($0.first("NOMAD_TASK_NAME"), ".", $0.first("NOMAD_ALLOC_INDEX")) },
      process: { $0.first("NOMAD_GROUP_NAME") }, app: { $0.first("NOMAD_JOB_NAME") },
      region: { $0.first("NOMAD_REGION") }),
    PlatformRow(
      platform: "ecs", isDetected: { $0.has("ECS_CONTAINER_METADATA_URI_V4") },
      name: { $0.hostName }),
    PlatformRow(
      platform: "kubernetes", isDetected: { $0.has("KUBERNETES_SERVICE_HOST") },
      name: { $0.first("POD_NAME", "HOSTNAME") }, app: { $0.first("POD_NAMESPACE") }),
  ]

  /// `web` of `web.1`, and of `web-12a34b56d-e78f9` as the Fir generation names it.
  @Sendable private static func dynoProcess(_ dyno: String?) -> String? {
    guard let dyno else { return nil }
    let separator: Character = dyno.contains(".") ? "." : "-"
    return String(dyno.prefix { $0 != separator })
  }
}
