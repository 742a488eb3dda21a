import Platforms
import Testing

@Suite("What an announcer needs, from the environment")
struct AnnouncerConfigurationTests {
  @Test("the platform, the provider and our own variables are read as the command reads them")
  func environment() throws {
    let found = try AnnouncerConfiguration(environment: [
      "DYNO": "web.1", "HEROKU_RELEASE_VERSION": "v42", "REDISTOGO_URL": "redis://h:7",
      "PAASBUS_APP": "my shop\n", "PAASBUS_CHANNEL": "here ",
    ])
    #expect(found.instance.name == "web.1")
    #expect(found.instance.release == "v42")
    #expect(found.instance.app == "my-shop")
    #expect(found.options.channel == "here")
    #expect(found.connector?.endpoint.redactedURL == "redis://h:7")
  }

  @Test("a name that surely holds a secret is none", arguments: ["PAASBUS_APP", "PAASBUS_CHANNEL"])
  func secrets(variable: String) throws {
    let found = try AnnouncerConfiguration(environment: [variable: "redis://u:secret@h"])
    #expect(found.instance.app == "default")
    #expect(found.options.channel == nil)
  }
}
