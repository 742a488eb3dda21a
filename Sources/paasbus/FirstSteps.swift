import Platforms

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The output of `paasbus` without arguments: what to do first, and which Redis would be used.
enum FirstSteps {
  static var text: String {
    """
    paasbus shows which instances of an app join and leave, over any Redis.

    Try it, in two terminals:

      paasbus watch
      paasbus announce --name web.1

    Put it in front of your app, in a Procfile or a Dockerfile:

      paasbus announce -- node server.js

    Redis: \(redis)
    All commands: paasbus --help

    """
  }

  private static var redis: String {
    do {
      let environment = ProcessInfo.processInfo.environment
      guard let location = try RedisLocator.locate(url: nil, environment: environment) else {
        return "none is configured; a private one on this machine is used"
      }
      return "\(location.endpoint.redactedURL), from \(location.source)"
        + "\n       (check it with: paasbus doctor)"
    } catch {
      let failure = Failure(error)
      return "\(failure.problem): \(failure.remedy)"
    }
  }
}
