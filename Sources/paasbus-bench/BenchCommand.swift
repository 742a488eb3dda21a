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
      try await RedisServer.with(usesTCP: true) { server in
        let bench = Bench(program: program, server: server, runs: runs)
        for row in try await bench.measure(benchmark) { say(row.markdown) }
      }
    }
  }

  /// Prints a line at once, wherever it goes.
  private func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
  }
}

enum Benchmark: String, CaseIterable, ExpressibleByArgument {
  case startup, announce, stop, kill, wrap, idle, tail, replay, list, fleet, fanout
}

/// What all measurements share.
struct Bench: Sendable {
  let program: String
  let server: RedisServer
  let runs: Int

  var environment: [String] {
    ManagedProcess.bareEnvironment.map { "\($0.key)=\($0.value)" } + ["PAASBUS_URL=\(server.url)"]
  }

  func measure(_ benchmark: Benchmark) async throws -> [Row] {
    switch benchmark {
    case .startup: try startup()
    case .announce: try await announce()
    case .stop: try await stop()
    case .kill: try await kill()
    case .wrap: try wrap()
    case .idle: try await idle()
    case .tail: try await tail()
    case .replay: try await replay()
    case .list: try await list()
    case .fleet: try await fleet()
    case .fanout: try await fanout()
    }
  }
}
