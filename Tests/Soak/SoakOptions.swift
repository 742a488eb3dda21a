import ArgumentParser

/// What all soaks are told, and how each ends.
struct SoakOptions: ParsableArguments {
  @Argument(help: "For how long faults are injected, in seconds.")
  var seconds = 60

  @Option(help: "The same seed draws the same faults.")
  var seed = UInt64.random(in: 1...999_999)

  @Flag(help: "Say what is done as it is done.")
  var verbose = false

  /// Prints what was found.
  ///
  /// - Throws: `ExitCode` where it is not fine, or the soak gave no verdict.
  func conclude(_ verdict: (any SoakVerdict)?) throws {
    guard let verdict else { throw ExitCode.failure }
    print(verdict.report)
    guard verdict.isFine else {
      print("soak: failed; repeat it with --seed \(seed)")
      throw ExitCode.failure
    }
    print("soak: fine")
  }
}

/// What was seen, compared with what happened.
protocol SoakVerdict {
  var report: String { get }
  var isFine: Bool { get }
}
