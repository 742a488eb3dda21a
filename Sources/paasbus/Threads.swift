import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Checks what is needed before tasks can run. If it is missing, the libraries that run tasks end
/// the process with a trap.
enum Threads {
  /// The thread of the connection, and one that looks up names.
  private static let own: Int32 = 2
  /// The threads of Swift's pool, one for each processor, and those that manage the pool.
  private static let pool: Int32 = 8

  /// - Parameter usesPool: whether Swift's pool is needed in addition to the connection's thread.
  /// - Throws: ``Failure``.
  static func check(usesPool: Bool) throws {
    #if os(Linux)
      if usesPool, access("/proc/self/task", R_OK) != 0 {
        throw Failure(
          .configuration, "this command cannot run without /proc", remedy: "mount /proc")
      }
    #endif
    let failure = csupervisor_try_threads(own + (usesPool ? pool : 0))
    guard failure == 0 else {
      throw Failure(
        .configuration, "no more threads can be had (\(String(cString: strerror(failure))))",
        remedy: "raise the limit of processes (pids.max, ulimit -u)")
    }
  }
}
