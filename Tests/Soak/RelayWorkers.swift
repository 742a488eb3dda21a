import ExpressSessions
import Foundation
import PaasbusRedis
import TestSupport

/// What is published for users: for each of them by one worker, so that its numbers are in Redis' order. One whose
/// answer was lost may have been published or not, so no number is tried twice.
final class RelayWorkers: Sendable {
  private let site: RelaySite
  private let users: Int
  private let seed: UInt64
  /// For each user, the numbers that Redis has taken, in their order.
  let published: Mutable<[[Int]]>

  init(site: RelaySite, users: Int, seed: UInt64) {
    self.site = site
    self.users = users
    self.seed = seed
    published = Mutable(Array(repeating: [], count: users))
  }

  /// - Returns: each user's cookie.
  func openSessions() async throws -> [String] {
    try await site.withConnection { connection in
      var cookies: [String] = []
      for user in 0..<users {
        let id = SessionID("session-of-user-number-\(user)")
        _ = try await connection.send(
          RedisCommand("SET", "sess:\(id.text)", #"{"cookie":{},"user":{"id":\#(user)}}"#))
        cookies.append(SessionSecrets(["keyboard cat"])?.cookie(for: id) ?? "")
      }
      return cookies
    }
  }

  /// Publishes until the task is cancelled: plainly for most users, and by `publish --keep` for every eighth.
  func publish() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        if case .server(let server, _) = self.site, ExpressApp.isPossible {
          try await self.publishByNode(server)
        } else {
          try await self.publishPlainly()
        }
      }
      group.addTask { try await self.publishKept() }
      try await group.waitForAll()
    }
  }

  private func isKept(_ user: Int) -> Bool { user % 8 == 7 }

  /// By a worker that knows nothing of the relay, on Debian's node-redis.
  private func publishByNode(_ server: RedisServer) async throws {
    let plain = (0..<users).filter { !isKept($0) }.map(String.init)
    let worker = try ExpressApp.startPublisher(for: plain, on: server)
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(1)) }
    worker.signal(SIGTERM)
    _ = try? await Task { try await worker.exitStatus() }.value
    guard !worker.lines.isEmpty else {
      throw Impatience(description: "the worker published nothing: \(worker.errorOutput)")
    }
    published.update { published in
      for line in worker.lines {
        let numbers = line.split(separator: " ").compactMap { Int($0) }
        if let user = numbers.first, let number = numbers.last, published.indices.contains(user) {
          published[user].append(number)
        }
      }
    }
  }

  /// By our own client, which finds a new master.
  private func publishPlainly() async throws {
    var random = SeededGenerator(state: seed &+ 1000)
    var number = 0
    while !Task.isCancelled {
      try? await site.withConnection { connection in
        while !Task.isCancelled {
          let user = Int.random(in: 0..<users, using: &random)
          guard !isKept(user) else { continue }
          number += 1
          _ = try await connection.send(RedisCommand("PUBLISH", "JOB:\(user):soak", "\(number)"))
          published.update { [number] in $0[user].append(number) }
          try await Task.sleep(for: .milliseconds(4))
        }
      }
    }
  }

  private func publishKept() async throws {
    var (user, number) = (7, 0)
    while !Task.isCancelled {
      number += 1
      let process = try Paasbus.start(
        "publish", "--keep", "--app", "shop", "JOB:\(user):soak", "\(number)", "--url", site.url)
      // Also one that the end of the soak overtakes.
      let status = try await Task { try await process.exitStatus() }.value
      if status == 0 { published.update { [user, number] in $0[user].append(number) } }
      user = (user + 8) % users
      if !isKept(user) { user = 7 }
    }
  }
}
