import Platforms
import Testing

@Suite("Identity")
struct PlatformIdentityTests {
  private static func detect(_ environment: [String: String]) -> PlatformIdentity {
    PlatformIdentity.detect(
      environment: environment, bootID: "01JDDV3V8Q6W2N4C7T0Z5RKXYB", hostName: "b7c1.example.com",
      processID: 7)
  }

  struct Row: Sendable, CustomStringConvertible {
    var environment: [String: String]
    /// platform, name, process, app, release, commit, region
    var expected: [String?]
    var description: String { expected.first.flatMap(\.self) ?? "none" }

    init(_ environment: [String: String], _ expected: String?...) {
      (self.environment, self.expected) = (environment, expected)
    }
  }

  @Test(
    "a row for each platform",
    arguments: [
      Row(
        [
          "DYNO": "web.1", "HEROKU_APP_NAME": "shop", "HEROKU_RELEASE_VERSION": "v42",
          "HEROKU_SLUG_COMMIT": "9af",
        ], "heroku", "web.1", "web", "shop", "v42", "9af", nil),
      Row(
        ["DYNO": "web-12a34b56d-e78f9", "HEROKU_BUILD_COMMIT": "c"], "heroku",
        "web-12a34b56d-e78f9", "web", nil, nil, "c", nil),
      Row(
        ["DYNO": "web.2", "DOKKU_APP_NAME": "d", "GIT_REV": "abc"], "dokku", "web.2", "web", "d",
        nil, "abc", nil),
      Row(
        [
          "FLY_MACHINE_ID": "e28", "FLY_PROCESS_GROUP": "app", "FLY_APP_NAME": "f",
          "FLY_MACHINE_VERSION": "01H", "FLY_REGION": "ams",
        ], "fly", "e28", "app", "f", "01H", nil, "ams"),
      Row(
        [
          "RENDER": "true", "RENDER_INSTANCE_ID": "srv-1", "RENDER_SERVICE_TYPE": "web",
          "RENDER_SERVICE_NAME": "r", "RENDER_GIT_COMMIT": "c",
        ], "render", "srv-1", "web", "r", nil, "c", nil),
      Row(
        [
          "RAILWAY_REPLICA_ID": "0123456789ab", "RAILWAY_SERVICE_NAME": "api",
          "RAILWAY_PROJECT_NAME": "p", "RAILWAY_DEPLOYMENT_ID": "d",
          "RAILWAY_GIT_COMMIT_SHA": "c", "RAILWAY_REPLICA_REGION": "us",
        ], "railway", "api-01234567", "api", "p", "d", "c", "us"),
      Row(
        ["K_SERVICE": "s", "K_REVISION": "s-001"], "cloud-run", "s-001-5rkxyb", nil, "s", "s-001",
        nil, nil),
      Row(
        [
          "GAE_INSTANCE": "i", "GAE_SERVICE": "default", "GAE_APPLICATION": "a",
          "GAE_VERSION": "v",
        ], "app-engine", "i", "default", "a", "v", nil, nil),
      Row(
        [
          "CONTAINER_APP_REPLICA_NAME": "r-1", "CONTAINER_APP_NAME": "a",
          "CONTAINER_APP_REVISION": "v",
        ], "azure-container-apps", "r-1", nil, "a", "v", nil, nil),
      Row(
        [
          "WEBSITE_INSTANCE_ID": "abcdef0123456789", "WEBSITE_SITE_NAME": "site",
          "REGION_NAME": "West",
        ], "azure-app-service", "site-abcdef01", nil, "site", nil, nil, "West"),
      Row(
        [
          "VCAP_APPLICATION":
            #"{"application_name":"a","application_version":"v","process_type":"web","x":1}"#,
          "CF_INSTANCE_INDEX": "3",
        ], "cloud-foundry", "web.3", "web", "a", "v", nil, nil),
      Row(
        ["VCAP_APPLICATION": "{broken", "CF_INSTANCE_INDEX": "3"], "cloud-foundry", "b7c1.3", nil,
        nil, nil, nil, nil),
      Row(
        [
          "VCAP_APPLICATION":
            #"{"application_name":"a","process_type":"","application_version":[7]}"#
        ], "cloud-foundry", "b7c1", nil, "a", nil, nil, nil),
      Row(
        ["OPENSHIFT_GEAR_UUID": "u", "OPENSHIFT_GEAR_DNS": "g.x", "OPENSHIFT_APP_NAME": "a"],
        "openshift-v2", "g.x", nil, "a", nil, nil, nil),
      Row(
        [
          "CONTAINER": "web-1", "APP": "a", "CONTAINER_VERSION": "7", "REGION_NAME": "osc",
        ], "scalingo", "web-1", "web", "a", nil, "7", "osc"),
      Row(
        [
          "CC_DEPLOYMENT_ID": "d", "INSTANCE_TYPE": "production", "INSTANCE_NUMBER": "0",
          "APP_ID": "app_1", "CC_COMMIT_ID": "c",
        ], "clever-cloud", "production.0", nil, "app_1", "d", "c", nil),
      Row(
        [
          "KOYEB_INSTANCE_ID": "i", "KOYEB_SERVICE_NAME": "s", "KOYEB_REPLICA_INDEX": "2",
          "KOYEB_APP_NAME": "a", "KOYEB_REGIONAL_DEPLOYMENT_ID": "d", "KOYEB_REGION": "fra",
        ], "koyeb", "s.2", "s", "a", "d", nil, "fra"),
      Row(
        ["PLATFORM_APPLICATION_NAME": "app", "PLATFORM_PROJECT": "p", "PLATFORM_TREE_ID": "t"],
        "platform-sh", "app-5rkxyb", nil, "p", "t", nil, nil),
      Row(
        [
          "NOMAD_ALLOC_ID": "x", "NOMAD_TASK_NAME": "t", "NOMAD_ALLOC_INDEX": "4",
          "NOMAD_GROUP_NAME": "g", "NOMAD_JOB_NAME": "j", "NOMAD_REGION": "r",
        ], "nomad", "t.4", "g", "j", nil, nil, "r"),
      Row(
        ["ECS_CONTAINER_METADATA_URI_V4": "http://x"], "ecs", "b7c1.example.com", nil, nil, nil,
        nil, nil),
      Row(
        ["KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "pod-1", "POD_NAMESPACE": "n"],
        "kubernetes", "pod-1", nil, "n", nil, nil, nil),
      Row(["OPENSHIFT_GEAR_UUID": "u"], "openshift-v2", "u", nil, nil, nil, nil, nil),
      Row(["DOKKU_ROOT": "/home/dokku"], "dokku", "b7c1", nil, nil, nil, nil, nil),
      Row(["RENDER": "true"], "render", "b7c1", nil, nil, nil, nil, nil),
      Row(["KUBERNETES_SERVICE_HOST": "x"], "kubernetes", "b7c1", nil, nil, nil, nil, nil),
      Row(["CONTAINER": "web-1"], nil, "b7c1.7", nil, nil, nil, nil, nil),
      Row([:], nil, "b7c1.7", nil, nil, nil, nil, nil),
      Row(["DYNO": ""], nil, "b7c1.7", nil, nil, nil, nil, nil),
      Row(
        ["DYNO": "web.1", "KUBERNETES_SERVICE_HOST": "x"], "heroku", "web.1", "web", nil, nil, nil,
        nil),
    ])
  func rows(row: Row) {
    let found = Self.detect(row.environment)
    #expect(
      [
        found.platform, found.name, found.process, found.app, found.release, found.commit,
        found.region,
      ] == row.expected)
  }

  @Test("Fly's image is told as meta, and Heroku signals every process")
  func extras() {
    #expect(
      Self.detect(["FLY_MACHINE_ID": "e", "FLY_IMAGE_REF": "r/x:1"]).meta == ["image": "r/x:1"])
    #expect(Self.detect(["DYNO": "web.1"]).signalsEveryProcess)
    #expect(!Self.detect(["DYNO": "web.1", "DOKKU_APP_NAME": "a"]).signalsEveryProcess)
  }
}
