import Gateway

extension Failure {
  init(_ fault: RelayFault) {
    switch fault {
    case .otherGateways:
      self.init(
        .configuration,
        "other relays of this app have another --channel or another version",
        remedy: "give all of them the same --channel and version, or use another --app")
    case .cluster:
      self.init(
        .configuration, "the relay does not work in a cluster yet",
        remedy: "give it a Redis of its own with --url, and the cluster's with --sessions-url")
    }
  }

  init(_ fault: RelayChannelFault) {
    let problem =
      switch fault {
      case .parts: "it must hold {user} once, then {job} once, and nothing behind it"
      case .separator: "it needs a text between {user} and {job}"
      case .clock: "it matches the channel on which the gateways talk to each other"
      }
    self.init(
      .usage, "--channel does not suit the relay: \(problem)",
      remedy: "give it like 'JOB:{user}:{job}'")
  }
}
