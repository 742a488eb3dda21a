import NIOCore

extension RedisConnector {
  /// The thread on which all connections live, for tasks that do little but ask and be answered: a
  /// question and its answer then wake one thread, and not two in turn.
  ///
  /// Such a task must neither block nor have much to reckon: meanwhile, no connection is served.
  package static let connectionThread: any TaskExecutor = EventLoopExecutor(loop: group.next())

  /// Waits on that thread; `Task.sleep` would start others to wait on.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  package static func sleep(for duration: Duration) async throws {
    let timer = group.next().scheduleTask(in: TimeAmount(duration)) {}
    defer { timer.cancel() }
    try await timer.futureResult.cancellableValue()
  }
}

/// Runs the jobs of tasks on an event loop.
private final class EventLoopExecutor: TaskExecutor {
  private let loop: any EventLoop

  init(loop: any EventLoop) { self.loop = loop }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
