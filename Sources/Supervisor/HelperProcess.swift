import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A program that works for us. It may be started on any thread, and may live longer than we do.
public struct HelperProcess: Sendable {
  public struct StartFailure: Error {
    /// The error number, as in `errno`.
    public var number: CInt
    public var description: String { String(cString: strerror(number)) }
  }

  /// Where its standard streams lead.
  public struct Streams: Sendable {
    public var input: CInt
    public var output: CInt
    public var error: CInt

    public init(input: CInt, output: CInt, error: CInt) {
      (self.input, self.output, self.error) = (input, output, error)
    }
  }

  /// The two ends of a pipe, which no other child inherits.
  public struct Pipe: Sendable {
    public let reading: CInt
    public let writing: CInt

    /// nil, with `errno` set, where no pipe can be made.
    public init?() {
      var ends: [CInt] = [-1, -1]
      guard pipe(&ends) == 0 else { return nil }
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      (reading, writing) = (ends[0], ends[1])
    }
  }

  public let id: pid_t

  /// It inherits no file but `streams`.
  ///
  /// - Parameters:
  ///   - program: its path, or a name that is searched for on the PATH.
  ///   - words: its arguments, its name among them.
  ///   - environment: as `NAME=VALUE`; ours where nil.
  ///   - leadsGroup: whether it gets its own process group, which ``end(within:grace:)`` needs.
  ///   - resets: signals that have their default effect in it, even where we ignore them.
  public static func start(
    _ program: String, _ words: [String], environment: [String]? = nil, streams: Streams,
    leadsGroup: Bool = true, resets: [CInt] = [SIGPIPE]
  ) throws(StartFailure) -> HelperProcess {
    // If SIGCHLD were ignored, the system would not tell us how the program ends.
    signal(SIGCHLD, SIG_DFL)
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_adddup2(&actions, streams.input, 0)
    posix_spawn_file_actions_adddup2(&actions, streams.output, 1)
    posix_spawn_file_actions_adddup2(&actions, streams.error, 2)
    // Sockets of the event loop are not closed by exec, and a program that lives long would keep
    // connections open that we have closed.
    csupervisor_close_from(&actions, 3)
    // The program must not inherit the signals that we have blocked.
    var (none, usual) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigemptyset(&usual)
    for number in resets { sigaddset(&usual, number) }
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &usual)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes,
      Int16(
        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (leadsGroup ? POSIX_SPAWN_SETPGROUP : 0)))
    let vector = words.map { strdup($0) } + [nil]
    let variables = (environment ?? []).map { strdup($0) } + [nil]
    defer { for copy in vector + variables { free(copy) } }
    var child = pid_t()
    let failure =
      environment == nil
      ? posix_spawnp(&child, program, &actions, &attributes, vector, environ)
      : posix_spawnp(&child, program, &actions, &attributes, vector, variables)
    guard failure == 0 else { throw StartFailure(number: failure) }
    return HelperProcess(id: child)
  }

  /// Waits for its end. If that takes longer than `limit`, or the task is cancelled, this ends it,
  /// with SIGTERM to its group and SIGKILL `grace` later.
  ///
  /// - Returns: how it ended, and whether it was in time.
  public func end(within limit: Duration, grace: Duration) async -> (CommandStatus, inTime: Bool) {
    let inTime = await hasEnded(within: limit)
    if !inTime {
      kill(-id, SIGTERM)
      // In a task of its own, so that the grace is given even where our task is cancelled.
      let ended = await Task { await hasEnded(within: grace) }.value
      if !ended { kill(-id, SIGKILL) }
    }
    var status: CInt = 0
    while waitpid(id, &status, 0) == -1, errno == EINTR { continue }
    return (CommandStatus(waitStatus: status), inTime)
  }

  /// Whether it has ended, or can no longer be waited for.
  public var hasEnded: Bool { waitpid(id, nil, WNOHANG) != 0 }

  private func hasEnded(within limit: Duration) async -> Bool {
    // Our own child can always be followed until it has ended, so a failure means that it has
    // ended.
    guard let process = try? FollowedProcess(id) else { return true }
    return await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        await process.waitForEnd()
        return !Task.isCancelled
      }
      group.addTask {
        try? await Task.sleep(for: limit)
        return false
      }
      let first = await group.next() ?? false
      group.cancelAll()
      return first
    }
  }
}
