import NIOCore
import NIOPosix

/// The thread on which the connections of a connector live. It is an event loop that was handed in,
/// or one of ours, which all connectors without their own event loop share.
package struct ConnectionThread: Sendable {
  /// It is made when it is first needed, and lasts as long as the process.
  package static let shared = ConnectionThread(
    MultiThreadedEventLoopGroup(numberOfThreads: 1).next())

  package let loop: any EventLoop
  /// For tasks that mostly send commands and wait for the replies: a command and its reply then
  /// wake one thread instead of two in turn.
  ///
  /// Such a task must neither block nor compute for long, since no connection is served meanwhile.
  package let executor: any TaskExecutor

  init(_ loop: any EventLoop) {
    self.loop = loop
    executor = EventLoopExecutor(loop: loop)
  }

  /// Waits on that thread; `Task.sleep` would start other threads to wait on.
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
