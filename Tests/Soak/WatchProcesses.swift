import Foundation
import Presence
import TestSupport

/// The watchers, all of which watch from before the first event to the end.
struct WatchProcesses: Sendable {
  let all: [ManagedProcess]

  init(_ count: Int, _ server: RedisServer, _ proxy: Proxy) async throws {
    var watches: [ManagedProcess] = []
    for number in 0..<count {
      let url = number % 3 == 2 ? proxy.url : server.url
      watches.append(try Paasbus.start("watch", "--json", "--app", "soak", "--url", url))
    }
    for watch in watches {
      try await eventually("it watches") { watch.errorOutput.contains("watching ") }
    }
    all = watches
  }

  /// Waits until all have shown the last event, and ends them.
  func settle(at last: Position?) async throws {
    guard let last else { return }
    let mark = "\"epoch\":\(last.epoch),\"seq\":\(last.seq),"
    for watch in all {
      // A watch that has not shown it by then has missed it, as the verdict will say.
      try? await eventually("the last event is shown", within: .seconds(30)) {
        watch.output.contains(mark)
      }
    }
    for watch in all {
      watch.signal(SIGTERM)
      _ = try await watch.exitStatus()
    }
  }
}
