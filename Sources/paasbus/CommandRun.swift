import ArgumentParser

/// How a command runs: on which thread, and what a signal means to it.
enum CommandRun {
  /// On the main thread, to its exit status; it sees to signals itself.
  case onMainThread(() throws -> Int32)
  /// Until it ends by itself or signals come, by name and in their order, which it gets.
  case untilSignalled(isDrawing: Bool, @Sendable (AsyncStream<String>) async throws -> Void)
  /// To its end on the thread of the connection: enough for what asks, works and prints in turn.
  case onConnectionThread(@Sendable () async throws -> Void)
  /// To its end on the pool of threads: where something is printed, or a person is asked, while a connection
  /// has to go on.
  case onPool(@Sendable () async throws -> Void)
}

/// A command of ours.
protocol PaasbusSubcommand: ParsableCommand, Sendable {
  var run: CommandRun { get }
}

extension PaasbusSubcommand {
  /// As the parser would run it; ``Program`` does.
  mutating func run() throws { throw CleanExit.helpRequest(self) }
}
