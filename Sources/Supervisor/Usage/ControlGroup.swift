#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The control groups of a process, in which the kernel counts what a container uses (cgroups(7), and the kernel's
/// `cgroup-v1/memory` and `cgroup-v2`).
struct ControlGroup: Sendable {
  private enum Version: Sendable { case one, two }

  /// More than any machine has: how version 1 says that there is no limit.
  private static let unlimited: Int64 = 1 << 60

  private let version: Version
  /// The folder of the memory controller.
  private let memory: String
  /// Of the one that counts processor time.
  private let processor: String?
  /// Where the hierarchy begins.
  private let mount: String

  /// - Parameters:
  ///   - id: a process.
  ///   - root: where `/proc` and `/sys` are looked for.
  /// - Returns: nil where the memory of the process is not counted.
  init?(of id: pid_t, root: String = "") {
    let lines = (SystemFile.text("\(root)/proc/\(id)/cgroup") ?? "").split(separator: "\n")
    let groups = lines.map {
      $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    }
    .filter { $0.count == 3 }
    let mount = "\(root)/sys/fs/cgroup"
    /// A container often sees its own group at the top, whatever its path is outside.
    func folder(_ controllers: String, _ path: Substring, _ file: String) -> String? {
      let base = controllers.isEmpty ? mount : "\(mount)/\(controllers)"
      let candidates = path == "/" ? [base] : [base + path, base]
      return candidates.first { access("\($0)/\(file)", R_OK) == 0 }
    }
    if let path = groups.first(where: { $0[0] == "0" })?[2],
      let found = folder("", path, "memory.current")
    {
      (version, memory, processor) = (.two, found, found)
      self.mount = mount
      return
    }
    func one(_ controller: Substring, _ file: String) -> String? {
      groups.first { $0[1].split(separator: ",").contains(controller) }.flatMap { group in
        folder(String(group[1]), group[2], file) ?? folder(String(controller), group[2], file)
      }
    }
    guard let found = one("memory", "memory.usage_in_bytes") else { return nil }
    (version, memory, processor) = (.one, found, one("cpuacct", "cpuacct.usage"))
    self.mount = mount
  }

  /// Those that are in it. The id of one of another container reads 0 here.
  var processes: Set<pid_t>? { SystemFile.ids("\(memory)/cgroup.procs") }

  /// Whether what it counts of processors is that of these ones alone.
  func countsProcessors(of ids: Set<pid_t>) -> Bool {
    guard let processor else { return false }
    return processor == memory
      || SystemFile.ids("\(processor)/cgroup.procs").map { !$0.isEmpty && $0.isSubset(of: ids) }
        ?? false
  }

  /// In bytes, without files' pages that the kernel can drop at once.
  var usedMemory: Int64? {
    let (used, inactive) =
      switch version {
      case .one: ("memory.usage_in_bytes", "total_inactive_file")
      case .two: ("memory.current", "inactive_file")
      }
    guard let all = SystemFile.number("\(memory)/\(used)") else { return nil }
    return max(0, all - (SystemFile.number(inactive, in: "\(memory)/memory.stat") ?? 0))
  }

  /// In bytes; nil where there is none.
  var maxMemory: Int64? {
    switch version {
    case .one:
      return SystemFile.number("hierarchical_memory_limit", in: "\(memory)/memory.stat")
        .flatMap { $0 < Self.unlimited ? $0 : nil }
    case .two:
      // The lowest of its own and those of the groups around it.
      var (folder, limits) = (memory[...], [Int64]())
      while folder.utf8.count >= mount.utf8.count {
        if let limit = SystemFile.number("\(folder)/memory.max") { limits.append(limit) }
        folder = folder.lastIndex(of: "/").map { folder[..<$0] } ?? ""
      }
      return limits.min()
    }
  }

  /// Seconds on processors.
  var processorTime: Double? {
    guard let processor else { return nil }
    return switch version {
    case .one: SystemFile.number("\(processor)/cpuacct.usage").map { Double($0) / 1_000_000_000 }
    case .two:
      SystemFile.number("usage_usec", in: "\(processor)/cpu.stat").map { Double($0) / 1_000_000 }
    }
  }

  /// How many processes of it the kernel has killed since it ran out of memory.
  var memoryKills: Int64? {
    SystemFile.number(
      "oom_kill", in: memory + (version == .one ? "/memory.oom_control" : "/memory.events"))
  }
}
