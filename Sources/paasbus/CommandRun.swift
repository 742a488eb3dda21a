import ArgumentParser

/// How a command runs: on which thread, and what a signal means to it.
enum CommandRun {
  /// Runs on the main thread until it returns its exit status. It handles signals itself.
  case onMainThread(() throws -> Int32)
  /// Runs until it ends by itself or because of a signal. It gets the names of the signals in their
  /// order.
  case untilSignalled(isDrawing: Bool, @Sendable (AsyncStream<String>) async throws -> Void)
  /// The same on the thread of the connection, so that the process has no other threads.
  case serving(
    isDrawing: Bool = false, @Sendable (AsyncStream<String>) async throws -> Void)
  /// Runs until it ends by itself, because of a signal, or because its output has no reader any longer. It runs on the
  /// thread of the connection as well, and on a pool of threads where very much comes.
  case following(isDrawing: Bool, @Sendable () async throws -> Void)
  /// Runs to its end on the thread of the connection. That is enough for a command that asks the
  /// server, computes and prints in turn.
  case onConnectionThread(@Sendable () async throws -> Void)
  /// Runs to its end on the pool of threads. That is needed where the command prints, or asks the
  /// user, while a connection has to go on.
  case onPool(@Sendable () async throws -> Void)
}

/// A command of ours.
protocol PaasbusSubcommand: ParsableCommand, Sendable {
  var run: CommandRun { get }
}

extension PaasbusSubcommand {
  /// The parser would call this, but ``Program`` runs the command instead.
  mutating func run() throws { throw CleanExit.helpRequest(self) }
}
