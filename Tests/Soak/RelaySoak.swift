import ArgumentParser
import ExpressSessions
import Foundation
import PaasbusRedis
import TestSupport

/// Lets browsers listen at several gateways of the relay while these, their connections and Redis suffer faults that
/// are drawn at random, and compares in the end what each browser got with what was published.
struct RelaySoak: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay", abstract: "Gateways of the relay under random faults.")

  @Argument(help: "For how long faults are injected, in seconds.")
  var seconds = 60

  @Option(help: "The same seed draws the same faults.")
  var seed = UInt64.random(in: 1...999_999)

  @Option(help: "How many gateways there are.")
  var gateways = 3

  @Option(help: "How many browsers listen.")
  var browsers = 200

  @Option(help: "How many users there are.")
  var users = 40

  @Flag(help: "Restart Redis too, now and then.")
  var restartsRedis = false

  @Flag(help: "Say what is done as it is done.")
  var verbose = false

  func run() async throws {
    print("soak: relay, seed \(seed), \(seconds) s, \(gateways) gateways, \(browsers) browsers")
    var verdict: RelayVerdict?
    let options = ["--appendonly", "yes", "--appendfsync", "always"]
    try await RedisServer.with(options: options) { verdict = try await soak($0) }
    guard let verdict else { throw ExitCode.failure }
    print(verdict.report)
    guard verdict.isFine else {
      print("soak: failed; repeat it with --seed \(seed)")
      throw ExitCode.failure
    }
    print("soak: fine")
  }

  private func soak(_ server: RedisServer) async throws -> RelayVerdict {
    let workers = RelayWorkers(server: server, users: users, seed: seed)
    let cookies = try await workers.openSessions()
    let fleet = try await RelayGateways(count: gateways, server: server)
    let all = (0..<browsers).map { number in
      RelayBrowser(user: number % users, cookie: cookies[number % users], ports: fleet.ports)
    }
    let listening = Task {
      await withTaskGroup(of: Void.self) { group in
        for (number, browser) in all.enumerated() {
          group.addTask { await browser.listen(seed: seed &+ UInt64(number)) }
        }
      }
    }
    let publishing = Task { try await workers.publish() }
    var faults = RelayFaults(
      server: server, fleet: fleet, random: SeededGenerator(state: seed),
      restartsRedis: restartsRedis, isVerbose: verbose)
    let injected = try await faults.inject(until: .now + .seconds(seconds))
    publishing.cancel()
    _ = try? await publishing.value
    let published = workers.published.get()
    // All that was published arrives, or is told as missing.
    try? await eventually("all have everything", within: .seconds(30)) {
      all.allSatisfy { $0.isSettled(published[$0.user]) }
    }
    listening.cancel()
    await fleet.end()
    return RelayVerdict(published: published, browsers: all, faults: injected)
  }
}

/// What is published for users: for each of them by one worker, so that its numbers are in Redis' order.
final class RelayWorkers: Sendable {
  private let server: RedisServer
  private let users: Int
  private let seed: UInt64
  /// How many messages there were for each user.
  let published: Mutable<[Int]>

  init(server: RedisServer, users: Int, seed: UInt64) {
    (self.server, self.users, self.seed) = (server, users, seed)
    published = Mutable(Array(repeating: 0, count: users))
  }

  func openSessions() async throws -> [String] {
    var cookies: [String] = []
    for user in 0..<users {
      let id = SessionID("session-of-user-number-\(user)")
      try await server.command(
        "SET", "sess:\(id.text)", #"{"cookie":{},"user":{"id":\#(user)}}"#)
      cookies.append(SessionSecrets(["keyboard cat"])?.cookie(for: id) ?? "")
    }
    return cookies
  }

  /// Publishes until the task is cancelled: plainly for most users, and by `publish --keep` for every eighth.
  func publish() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.publishPlainly() }
      group.addTask { try await self.publishKept() }
      try await group.waitForAll()
    }
  }

  private func isKept(_ user: Int) -> Bool { user % 8 == 7 }

  private func publishPlainly() async throws {
    var random = SeededGenerator(state: seed &+ 1000)
    while !Task.isCancelled {
      try? await server.connector.withConnection { connection in
        while !Task.isCancelled {
          let user = Int.random(in: 0..<users, using: &random)
          guard !isKept(user) else { continue }
          let number = published.get()[user] + 1
          _ = try await connection.send(RedisCommand("PUBLISH", "JOB:\(user):soak", "\(number)"))
          published.update { $0[user] = number }
          try await Task.sleep(for: .milliseconds(4))
        }
      }
    }
  }

  private func publishKept() async throws {
    var user = 7
    while !Task.isCancelled {
      let number = published.get()[user] + 1
      let process = try Paasbus.start(
        "publish", "--keep", "--app", "shop", "JOB:\(user):soak", "\(number)", on: server)
      // One that was cut off may have been published; the next number tells.
      if try await process.exitStatus() == 0 { published.update { $0[user] = number } }
      user = (user + 8) % users
      if !isKept(user) { user = 7 }
    }
  }
}

/// A browser that comes back whenever its connection ends.
final class RelayBrowser: Sendable {
  let user: Int
  private let cookie: String
  private let ports: [Int]
  /// Numbers of messages; -1 for a gap, -2 for one after which messages may come again.
  let got = Mutable<[Int]>([])
  private let since = Mutable<String?>(nil)

  init(user: Int, cookie: String, ports: [Int]) {
    (self.user, self.cookie, self.ports) = (user, cookie, ports)
  }

  func listen(seed: UInt64) async {
    var random = SeededGenerator(state: seed)
    while !Task.isCancelled {
      await listenOnce(at: ports.randomElement(using: &random) ?? 0)
      try? await Task.sleep(for: random.milliseconds(50...400))
    }
  }

  private func listenOnce(at port: Int) async {
    let query = since.get().map { "?since=\($0)" } ?? ""
    let client = try? await WebSocketClient.connect(
      "/relay\(query)", port: port, headers: ["Cookie": "connect.sid=\(cookie)"])
    guard let client, client.status == 101 else { return }
    var count = 0
    var lastNews = ContinuousClock.now
    while !Task.isCancelled {
      let frames = client.frames
      for frame in frames.dropFirst(count) where frame.opcode == 1 { receive(frame) }
      if frames.count > count { lastNews = .now }
      count = frames.count
      if client.isClosed || client.closeCode != nil { break }
      // One that hears nothing for long asks elsewhere, as a user does who loads the page again.
      if ContinuousClock.now - lastNews > .seconds(8) { break }
      try? await Task.sleep(for: .milliseconds(40))
    }
    await client.close()
  }

  private func receive(_ frame: WebSocketClient.Frame) {
    let decoded = try? JSONDecoder().decode(
      [String: TestSupport.JSONValue].self, from: Data(frame.bytes))
    let object = decoded ?? [:]
    func text(_ name: String) -> String? { object[name]?.text }
    switch text("t") {
    case "hello": if since.get() == nil { since.set(text("pos")) }
    case "msg":
      since.set(text("id"))
      let number = Int(text("data") ?? "") ?? -9
      got.update { $0.append(number) }
    case "gap":
      since.set(text("to"))
      let number = text("why") == "reset" ? -2 : -1
      got.update { $0.append(number) }
    case "pos": since.set(text("pos"))
    default: break
    }
  }

  /// Whether it has the last message, or was told that it may be missing.
  func isSettled(_ last: Int) -> Bool {
    let got = got.get()
    return last == 0 || got.last == last || (got.last ?? 0) < 0
  }
}

/// The gateways, each at a port of its own.
final class RelayGateways: Sendable {
  let ports: [Int]
  private let server: RedisServer
  private let processes: Mutable<[ManagedProcess?]>

  init(count: Int, server: RedisServer) async throws {
    self.server = server
    ports = try (0..<count).map { _ in try RedisServer.freePort() }
    processes = Mutable(Array(repeating: nil, count: count))
    for index in ports.indices { try start(index) }
    for port in ports {
      try await eventually("the gateway is ready") {
        try await HTTPAnswer.to("/readyz", port: port).status == 200
      }
    }
  }

  func start(_ index: Int) throws {
    let process = try Paasbus.start(
      ["serve", "--relay", "--app", "shop", "--listen", "127.0.0.1:\(ports[index])", "-q"],
      on: server, environment: ["PAASBUS_SESSION_SECRET": "keyboard cat"])
    processes.update { $0[index] = process }
  }

  func signal(_ index: Int, _ number: Int32) { processes.get()[index]?.signal(number) }

  func restart(_ index: Int, by number: Int32) async throws {
    signal(index, number)
    _ = try await processes.get()[index]?.exitStatus(within: .seconds(20))
    try start(index)
  }

  func end() async {
    for index in ports.indices { signal(index, SIGKILL) }
  }
}

/// What is done to them.
struct RelayFaults {
  let server: RedisServer
  let fleet: RelayGateways
  var random: SeededGenerator
  let restartsRedis: Bool
  let isVerbose: Bool

  mutating func inject(until end: ContinuousClock.Instant) async throws -> [String: Int] {
    var done: [String: Int] = [:]
    while ContinuousClock.now < end {
      try await Task.sleep(for: random.milliseconds(300...2500))
      let index = Int.random(in: fleet.ports.indices, using: &random)
      let fault = try await injectOne(index)
      if isVerbose { print("soak: \(fault) \(index)") }
      done[fault, default: 0] += 1
    }
    return done
  }

  private mutating func injectOne(_ index: Int) async throws -> String {
    switch Int.random(in: 0..<100, using: &random) {
    case ..<25:
      try await fleet.restart(index, by: SIGKILL)
      return "kill"
    case ..<45:
      fleet.signal(index, SIGSTOP)
      try await Task.sleep(for: random.milliseconds(500...6000))
      fleet.signal(index, SIGCONT)
      return "stall"
    case ..<75:
      let clients = try await server.cli("CLIENT", "LIST").split(separator: "\n")
      let ids = clients.filter { $0.contains("P") || $0.contains("cmd=evalsha") }.compactMap {
        $0.split(separator: " ").first?.dropFirst(3)
      }
      if let id = ids.randomElement(using: &random) {
        try await server.cli("CLIENT", "KILL", "ID", String(id))
      }
      return "cut"
    case ..<95:
      try await fleet.restart(index, by: SIGTERM)
      return "restart"
    default:
      guard restartsRedis else { return "nothing" }
      server.kill()
      try await server.start()
      return "redis"
    }
  }
}

/// Nothing is missing, doubled or out of order that was not told as a gap.
struct RelayVerdict {
  private var missing = 0
  private var doubled = 0
  private var gaps = 0
  private var delivered = 0
  private var unfinished = 0
  private var examples: [String] = []
  private let faults: [String: Int]

  init(published: [Int], browsers: [RelayBrowser], faults: [String: Int]) {
    self.faults = faults
    for browser in browsers { judge(browser, published[browser.user]) }
  }

  private mutating func judge(_ browser: RelayBrowser, _ last: Int) {
    var before: Int?
    var (isFine, mayRepeat) = (true, false)
    for number in browser.got.get() {
      if number < 0 {
        gaps += 1
        mayRepeat = mayRepeat || number == -2
        before = nil
        continue
      }
      delivered += 1
      if let before, !mayRepeat {
        if number <= before { (doubled, isFine) = (doubled + 1, false) }
        if number > before + 1 { (missing, isFine) = (missing + number - before - 1, false) }
      }
      (before, mayRepeat) = (number, false)
    }
    if !browser.isSettled(last) { (unfinished, isFine) = (unfinished + 1, false) }
    if !isFine, examples.count < 3 {
      examples.append("user \(browser.user), up to \(last): \(browser.got.get().suffix(60))")
    }
  }

  var isFine: Bool { missing == 0 && doubled == 0 && unfinished == 0 }

  var report: String {
    let injected = faults.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
    return
      ([
        "\(delivered) delivered, \(missing) missing, \(doubled) doubled or out of order, "
          + "\(unfinished) without the last, \(gaps) gaps told; faults: \(injected.joined(separator: ", "))"
      ]
      + examples).joined(separator: "\n")
  }
}
