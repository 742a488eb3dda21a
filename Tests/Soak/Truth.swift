import Foundation
import PaasbusRedis
import Presence
import TestSupport

/// Every event that ever stood in the history, kept apart from the server, which loses some.
actor Truth {
  private(set) var events: [Position: String] = [:]
  private(set) var last: Position?
  private let server: RedisServer
  let keys = Keys(app: "soak")

  init(server: RedisServer) { self.server = server }

  /// Reads what is new, again and again, until cancelled.
  func record() async {
    while !Task.isCancelled {
      try? await capture()
      try? await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Reads what is new; with `destroy`, the server loses it in the same instant.
  func capture(destroying destroy: [RedisCommand] = []) async throws {
    let read = RedisCommand("XRANGE", keys.events, last?.entryID ?? "-", "+")
    let connection = try await server.connector.connect()
    let replies: [RedisValue]
    do {
      replies = try await connection.transaction([read] + destroy)
      await connection.close()
    } catch {
      await connection.close()
      throw error
    }
    for entry in (replies.first?.elements ?? []).compactMap(HistoryEntry.init) {
      events[entry.position] = String(decoding: entry.bytes, as: UTF8.self)
      last = entry.position
    }
    // A new epoch may sort before the old one only if the server's clock went back.
  }
}
