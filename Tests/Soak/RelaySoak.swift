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

  @OptionGroup var options: SoakOptions

  @Option(help: "How many gateways there are.")
  var gateways = 3

  @Option(help: "How many browsers listen.")
  var browsers = 200

  @Option(help: "How many users there are.")
  var users = 40

  @Flag(help: "Restart Redis too, now and then.")
  var restartsRedis = false

  @Flag(help: "Have sentinels, and kill the master now and then.")
  var failsOver = false

  func run() async throws {
    print(
      "soak: relay, seed \(options.seed), \(options.seconds) s, \(gateways) gateways, \(browsers) browsers"
    )
    var verdict: RelayVerdict?
    if failsOver {
      try await RedisSentinels.with(password: "one", sentinelPassword: "two") {
        verdict = try await soak(.sentinels($0))
      }
    } else {
      let settings = ["--appendonly", "yes", "--appendfsync", "always"]
      try await RedisServer.with(options: settings) {
        verdict = try await soak(.server($0, restarts: restartsRedis))
      }
    }
    try options.conclude(verdict)
  }

  private func soak(_ site: RelaySite) async throws -> RelayVerdict {
    let workers = RelayWorkers(site: site, users: users, seed: options.seed)
    let cookies = try await workers.openSessions()
    let fleet = try await RelayGateways(count: gateways, site: site)
    let all = (0..<browsers).map { number in
      RelayBrowser(user: number % users, cookie: cookies[number % users], ports: fleet.ports)
    }
    let listening = Task {
      await withTaskGroup(of: Void.self) { group in
        for (number, browser) in all.enumerated() {
          group.addTask { await browser.listen(seed: options.seed &+ UInt64(number)) }
        }
      }
    }
    let publishing = Task { try await workers.publish() }
    var faults = RelayFaults(
      site: site, fleet: fleet, random: SeededGenerator(state: options.seed),
      isVerbose: options.verbose)
    let injected = try await faults.inject(until: .now + .seconds(options.seconds))
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
      // None has the number 0, so what cannot be read is out of order.
      let number = Int(text("data") ?? "") ?? 0
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
  func isSettled(_ published: [Int]) -> Bool {
    guard let last = published.last else { return true }
    return got.get().last.map { $0 >= last || $0 < 0 } ?? false
  }
}

/// Nothing is missing, doubled or out of order that was not told as a gap.
struct RelayVerdict: SoakVerdict {
  private var missing = 0
  private var doubled = 0
  private var gaps = 0
  private var delivered = 0
  private var unfinished = 0
  private var examples: [String] = []
  private let faults: [String: Int]

  init(published: [[Int]], browsers: [RelayBrowser], faults: [String: Int]) {
    self.faults = faults
    for browser in browsers { judge(browser, published[browser.user]) }
  }

  private mutating func judge(_ browser: RelayBrowser, _ published: [Int]) {
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
        let between = published.drop { $0 <= before }.prefix { $0 < number }
        if !between.isEmpty { (missing, isFine) = (missing + between.count, false) }
      }
      (before, mayRepeat) = (number, false)
    }
    if !browser.isSettled(published) { (unfinished, isFine) = (unfinished + 1, false) }
    if !isFine, examples.count < 3 {
      examples.append(
        "user \(browser.user), \(published.suffix(60)): \(browser.got.get().suffix(60))")
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
