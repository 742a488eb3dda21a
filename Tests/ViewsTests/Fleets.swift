import Presence

@testable import Presence

/// What the tests of views show.
enum Fleets {
  static let epoch: Int64 = 1_700_000_000_000

  static func instance(
    _ name: String, release: String? = nil, place: String? = nil, started: Int64 = epoch
  ) -> Instance {
    var instance = Instance(app: "shop", id: "ID-\(name)", name: name, lease: .seconds(15))
    instance.started = started
    instance.release = release
    instance.platform = place
    return instance
  }

  static func status(
    _ name: String, _ state: InstanceStatus.State = .up, release: String? = nil,
    started: Int64 = epoch
  ) -> InstanceStatus {
    InstanceStatus(
      instance: instance(name, release: release, started: started), state: state, seq: 1,
      leaseEnd: state == .up || state == .stopping ? epoch + 60_000 : nil)
  }

  static func event(
    _ type: EventType, _ seq: Int64, of instance: Instance, at: Int64 = epoch + 1000
  ) -> Event {
    Event(type: type, position: Position(epoch: epoch, seq: seq), at: at, instance: instance)
  }

  /// What a hub knows that has read a bus with these.
  static func state(_ statuses: [InstanceStatus], now: Int64 = epoch + 5000) -> HubState {
    var state = HubState(app: "shop")
    state.receive(Watcher.Notice.watching(app: "shop", channel: "instances"))
    state.begin(
      with: Snapshot(
        now: now, position: Position(epoch: epoch, seq: 0), channel: "instances",
        instances: statuses, tail: []))
    return state
  }
}
