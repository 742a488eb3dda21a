import CSupervisor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What has to be there before tasks can run: where it is missing, the libraries that run them end the
/// process with a trap.
enum Threads {
  /// The connection's, and one that looks names up.
  private static let own: Int32 = 2
  /// Swift's pool, which has one for each processor, and those that look after it.
  private static let pool: Int32 = 8

  /// - Parameter usesPool: whether Swift's pool is needed beside the connection's thread.
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
