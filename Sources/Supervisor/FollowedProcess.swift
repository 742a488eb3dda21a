import CSupervisor
@preconcurrency import Dispatch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A process that runs already and that is not our child, whose end is to be noticed.
///
/// It is held by a descriptor where the system has them (Linux 5.3), so that nobody who gets its id
/// later is taken for it; else by when it started.
public struct FollowedProcess: Sendable {
  public enum Obstacle: Error, Hashable {
    case notThere
    /// It belongs to another user.
    case notOurs
  }

  private static let pollInterval = Duration.milliseconds(200)

  public let id: pid_t
  private let descriptor: CInt
  private let started: String?

  /// - Throws: ``Obstacle``.
  public init(_ id: pid_t) throws(Obstacle) {
    self.id = id
    started = Self.startTime(of: id)
    descriptor = csupervisor_process_descriptor(id)
    if descriptor < 0, errno == ESRCH || errno == EINVAL { throw .notThere }
    #if os(Linux)
      // A zombie has ended already; only its parent has not looked.
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

  /// Returns when it has ended, or when the task is cancelled. To be called once: it lets go of
  /// the process afterwards.
  public func waitForEnd() async {
    guard let source = endSource() else { return await poll() }
    let (ends, continuation) = AsyncStream<Void>.makeStream()
    source.setEventHandler { continuation.finish() }
    source.setCancelHandler { [descriptor] in
      if descriptor >= 0 { close(descriptor) }
    }
    source.resume()
    for await _ in ends {}
    source.cancel()
  }

  private func endSource() -> (any DispatchSourceProtocol)? {
    #if canImport(Darwin)
      return DispatchSource.makeProcessSource(identifier: id, eventMask: .exit)
    #else
      return descriptor >= 0 ? DispatchSource.makeReadSource(fileDescriptor: descriptor) : nil
    #endif
  }

  private func poll() async {
    while !Task.isCancelled, kill(id, 0) == 0, Self.startTime(of: id) == started {
      try? await Task.sleep(for: Self.pollInterval)
    }
  }

  /// When a process started, in ticks since the system did (proc(5), the 22nd field of `stat`); nil
  /// for one that is not there, has ended, or where there is no such file.
  private static func startTime(of id: pid_t) -> String? {
    guard let file = fopen("/proc/\(id)/stat", "r") else { return nil }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 1024)
    guard fgets(&buffer, CInt(buffer.count), file) != nil else { return nil }
    let text = String(
      decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // The second field, a name in brackets, may hold anything.
    let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
    let isZombie = fields.dropFirst().first == "Z"
    return fields.count > 20 && !isZombie ? String(fields[20]) : nil
  }
}
