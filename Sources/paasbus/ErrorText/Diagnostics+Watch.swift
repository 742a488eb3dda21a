import PaasbusRedis
import Presence

extension Diagnostics {
  /// Says what a person may want to know of a watch.
  func report(_ notice: Watcher.Notice, _ endpoint: RedisEndpoint) {
    switch notice {
    case .waitingForBus: note(.waiting)
    case .watching(let app, let channel):
      note(.watching(app: app, channel: channel, url: endpoint.redactedURL))
    case .connectionLost(let error): note(.connectionLost(error))
    case .connectionBack: note(.connectionBack)
    case .cannotReap: detail(.cannotReap)
    case .otherApp(let app): note(.otherApp(app))
    case .manyOtherApps: note(.manyOtherApps)
    }
  }
}
