@preconcurrency import Dispatch
import NIOCore
import NIOPosix
import Synchronization

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
  /// For tasks that also work on what comes: on that thread as long as little comes, so that nothing else wakes, and
  /// on a pool of threads in a flood.
  ///
  /// Such a task must not block either.
  package let relievedExecutor: any TaskExecutor
  let flood = Flood()

  init(_ loop: any EventLoop) {
    self.loop = loop
    executor = EventLoopExecutor(loop: loop)
    relievedExecutor = RelievedExecutor(loop: loop, flood: flood)
  }

  /// Waits on that thread; `Task.sleep` would start other threads to wait on.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  package func sleep(for duration: Duration) async throws {
    let timer = loop.scheduleTask(in: TimeAmount(duration)) {}
    defer { timer.cancel() }
    try await timer.futureResult.cancellableValue()
  }

  /// Waits until the last moment of ``SharedTick`` within a time.
  ///
  /// - Throws: `CancellationError` when the task is cancelled.
  package func sleep(toTickWithin limit: Duration) async throws {
    try await sleep(for: SharedTick.last(within: limit) - .now)
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

/// Runs the jobs of tasks on an event loop, and in a flood on Dispatch's pool.
private final class RelievedExecutor: TaskExecutor {
  private let loop: any EventLoop
  private let flood: Flood

  init(loop: any EventLoop, flood: Flood) { (self.loop, self.flood) = (loop, flood) }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let run = { @Sendable in job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    if flood.isOn { DispatchQueue.global().async(execute: run) } else { loop.execute(run) }
  }
}

/// Whether so much comes that one thread is better not alone with it.
final class Flood: Sendable {
  /// More than so many bytes within ``window`` make a flood.
  private static let much = 512 * 1024
  private static let window = TimeAmount.milliseconds(100)
  /// A flood counts as one for so long after it was last seen.
  private static let aftermath = TimeAmount.milliseconds(500)

  /// In ns of the monotonic clock.
  private let end = Atomic<UInt64>(0)
  private let count = Mutex((begun: NIODeadline.now(), bytes: 0))

  var isOn: Bool {
    let end = end.load(ordering: .relaxed)
    return end > 0 && NIODeadline.now().uptimeNanoseconds < end
  }

  func receive(bytes: Int) {
    let now = NIODeadline.now()
    let isMuch = count.withLock { count in
      if now - count.begun > Self.window { count = (now, 0) }
      count.bytes += bytes
      return count.bytes > Self.much
    }
    if isMuch { end.store((now + Self.aftermath).uptimeNanoseconds, ordering: .relaxed) }
  }
}
