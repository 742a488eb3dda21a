import ArgumentParser
import Foundation
import TestSupport

/// Measures paasbus beside its nearest peers, in turn and in one run, against a private redis-server.
@main
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "paasbus-bench",
    abstract: "Measures paasbus beside its peers; prints Markdown.",
    discussion: "Names: \(Benchmark.allCases.map(\.rawValue).joined(separator: ", ")).")

  @Argument(help: "What to measure; all of it where nothing is named.")
  var names: [Benchmark] = []

  @Option(help: "The paasbus that is measured: a release binary.")
  var program = ".build-release/release/paasbus"

  @Option(help: "How often each thing is done.")
  var runs = 20

  func run() async throws {
    let program = URL(filePath: program).standardizedFileURL.path
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw ValidationError("there is no \(program): run scripts/bench, which builds it")
    }
    // A fleet needs a descriptor for each of its members, here and in the server.
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    say("| what | paasbus | peer | ratio | paasbus, 10th to 90th percentile |")
    say("|---|---|---|---|---|")
    for benchmark in names.isEmpty ? Benchmark.allCases : names {
      // As many clients as the usual limit of descriptors lets in.
      try await RedisServer.with(usesTCP: true, options: ["--maxclients", "19000"]) { server in
        for link in links(server).prefix(benchmark.usesServer ? 2 : 1) {
          let bench = Bench(program: program, server: server, link: link, runs: runs)
          for step in bench.steps(benchmark) {
            for row in try await step() { say(row.markdown(benchmark.usesServer ? link : nil)) }
          }
        }
      }
    }
  }

  private func links(_ server: RedisServer) -> [Link] {
    [.unixSocket(path: server.socketPath)]
      + [server.port.map { .loopback(port: $0) }].compactMap(\.self)
  }

  /// Prints a line at once, wherever it goes.
  private func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
  }
}

enum Benchmark: String, CaseIterable, ExpressibleByArgument {
  case startup, announce, stop, kill, wrap, idle, tail, replay, list, fleet, fanout, serve,
    sessions, relay

  /// Whether it matters how the server is reached.
  var usesServer: Bool {
    switch self {
    case .startup, .wrap, .idle, .serve, .relay: false
    case .announce, .stop, .kill, .tail, .replay, .list, .fleet, .fanout, .sessions: true
    }
  }
}

/// What all measurements share.
struct Bench: Sendable {
  let program: String
  let server: RedisServer
  let link: Link
  let runs: Int

  var environment: [String] {
    ManagedProcess.bareEnvironment.map { "\($0.key)=\($0.value)" } + ["PAASBUS_URL=\(link.url)"]
  }

  /// What is measured one after the other.
  func steps(_ benchmark: Benchmark) -> [() async throws -> [Row]] {
    switch benchmark {
    case .startup: [startup]
    case .announce: [announce]
    case .stop: [stop]
    case .kill: [kill]
    case .wrap: [wrap]
    case .idle: [idle]
    case .serve: [serving]
    case .relay: [relaying]
    case .sessions: [{ try await sessions(100_000) }]
    case .tail: [tail, cannedTail]
    case .replay: [replay]
    case .list: [100, 10_000, 100_000].map { count in { try await list(count) } }
    case .fleet:
      [{ try await freeze(10_000) }]
        + [1000, 10_000].map { count in { try await announcers(count) } }
        + [{ try await crowd(100_000) }]
        + [1000, 10_000, 100_000].map { count in { try await beats(count) } }
    case .fanout: [1, 10, 100, 1000].map { count in { try await fanout(count) } }
    }
  }
}
