import NIOCore
import NIOPosix

/// The thread on which the connections of a connector live: an event loop that was handed in, or one of ours,
/// which all that hand in none share.
package struct ConnectionThread: Sendable {
  /// Made when it is first needed, and then there for as long as the process.
  package static let shared = ConnectionThread(
    MultiThreadedEventLoopGroup(numberOfThreads: 1).next())

  let loop: any EventLoop
  /// For tasks that do little but ask and be answered: a question and its answer then wake one thread, and
  /// not two in turn.
  ///
  /// Such a task must neither block nor have much to reckon: meanwhile, no connection is served.
  package let executor: any TaskExecutor

  init(_ loop: any EventLoop) {
    self.loop = loop
    executor = EventLoopExecutor(loop: loop)
  }

  /// Waits on that thread; `Task.sleep` would start others to wait on.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  package func sleep(for duration: Duration) async throws {
    let timer = loop.scheduleTask(in: TimeAmount(duration)) {}
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
