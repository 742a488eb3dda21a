import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A process that already runs and need not be our child, and whose end has to be noticed.
///
/// It is identified by a descriptor where the system has them (Linux 5.3), so that a later process
/// with the same id is not taken for it; otherwise by its start time.
public struct FollowedProcess: Sendable {
  public enum Obstacle: Error, Hashable {
    case notThere
    /// It belongs to another user.
    case notOurs
  }

  private static let pollInterval = Duration.milliseconds(200)

  public let id: pid_t
  private let descriptor: CInt
  private let started: Int64?

  /// - Throws: ``Obstacle``.
  public init(_ id: pid_t) throws(Obstacle) {
    self.id = id
    started = Self.startTime(of: id)
    descriptor = csupervisor_process_descriptor(id)
    if descriptor < 0, errno == ESRCH || errno == EINVAL { throw .notThere }
    #if os(Linux)
      // A zombie has already ended; its parent has not reaped it yet.
      if started == nil, access("/proc/self/stat", R_OK) == 0, access("/proc/\(id)", F_OK) == 0 {
        if descriptor >= 0 { close(descriptor) }
        throw .notThere
      }
    #endif
    guard kill(id, 0) == 0 else {
      let failure = errno
      if descriptor >= 0 { close(descriptor) }
      throw failure == EPERM ? .notOurs : .notThere
    }
  }

  /// Returns when it has ended, or when the task is cancelled. To be called only once, since it
  /// closes the descriptor afterwards.
  public func waitForEnd() async {
    let (ends, continuation) = AsyncStream<Void>.makeStream()
    guard waitOnThread({ continuation.finish() }) else { return await poll() }
    for await _ in ends {}
  }

  /// Waits on a separate thread, since a pool of threads may not be available.
  ///
  /// - Returns: false where the system has no descriptors of processes, or no thread.
  private func waitOnThread(_ end: @escaping @Sendable () -> Void) -> Bool {
    guard descriptor >= 0 else { return false }
    return WaitingThread.start { [descriptor] in
      var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      while systemPoll(&state, 1, -1) < 0, errno == EINTR { continue }
      close(descriptor)
      end()
    }
  }

  private func poll() async {
    while !Task.isCancelled, kill(id, 0) == 0, Self.startTime(of: id) == started {
      try? await Task.sleep(for: Self.pollInterval)
    }
  }

  /// When a process started, in ticks since the system did; nil where the process does not exist or has ended, and
  /// where the system has no such file.
  private static func startTime(of id: pid_t) -> Int64? {
    ProcessStatus(id).flatMap { $0.isAlive ? $0.started : nil }
  }
}

private func systemPoll(_ states: UnsafeMutablePointer<pollfd>, _ count: nfds_t, _ limit: CInt)
  -> CInt
{
  poll(states, count, limit)
}

/// A thread that waits in the kernel for something.
enum WaitingThread {
  private final class Work {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// - Returns: whether it could be started.
  static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
    let work = Unmanaged.passRetained(Work(body))
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    let failure = pthread_create(
      &thread, nil,
      { work in
        #if canImport(Darwin)
          Unmanaged<Work>.fromOpaque(work).takeRetainedValue().body()
        #else
          if let work { Unmanaged<Work>.fromOpaque(work).takeRetainedValue().body() }
        #endif
        return nil
      }, work.toOpaque())
    guard failure == 0 else {
      work.release()
      return false
    }
    #if canImport(Darwin)
      if let thread { pthread_detach(thread) }
    #else
      pthread_detach(thread)
    #endif
    return true
  }
}
